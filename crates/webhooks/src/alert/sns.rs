//! AWS SNS: one `Publish`, signed by the signer of object_store, with the credentials that it finds.

use http::{HeaderValue, Method, header};
use object_store::aws::{AmazonS3Builder, AwsAuthorizer};
use object_store::client::HttpRequest;
use url::form_urlencoded::Serializer;

use super::{AlertError, answered, client, failed};
use crate::post::{Answer, Outcome};
use crate::trust::files::{Believing, Trust};

const SUBJECT: &str = "All recording bots are busy";
/// The version of SNS's query interface.
const VERSION: &str = "2010-03-31";

pub(super) struct Sns {
    arn: String,
    region: String,
    endpoint: String,
    /// Never asked for an object: it finds and renews credentials.
    account: object_store::aws::AmazonS3,
    http: Believing,
}

impl Sns {
    pub(super) fn new(arn: &str, endpoint: Option<String>, trust: &Trust) -> Result<Self, AlertError> {
        let wrong = AlertError::Name("an ARN such as arn:aws:sns:eu-west-1:123456789012:alerts");
        let parts: Vec<&str> = arn.split(':').collect();
        let ["arn", partition, "sns", region, account, topic] = parts.as_slice() else { return Err(wrong) };
        let is_plain =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        if ![*partition, *region, *account, *topic].into_iter().all(is_plain) {
            return Err(wrong);
        }
        let domain = if *partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        let endpoint = endpoint.filter(|text| !text.is_empty()).unwrap_or_else(|| format!("https://sns.{region}.{domain}"));
        let account = AmazonS3Builder::from_env().with_bucket_name("unused").with_region(*region).build();
        Ok(Self {
            arn: arn.to_owned(),
            region: (*region).to_owned(),
            endpoint: format!("{}/", endpoint.trim_end_matches('/')),
            account: account.map_err(|error| AlertError::Client(error.to_string()))?,
            http: client(trust)?,
        })
    }

    pub(super) async fn publish(&self, message: &str) -> Answer {
        let request = match self.signed(message).await {
            Ok(request) => request,
            Err(reason) => return failed(Outcome::Unreachable, reason),
        };
        let (parts, body) = request.into_parts();
        let body = body.as_bytes().cloned().unwrap_or_default();
        answered(self.http.client().post(&self.endpoint).headers(parts.headers).body(body).send().await).await
    }

    async fn signed(&self, message: &str) -> Result<HttpRequest, String> {
        let fields =
            [("Action", "Publish"), ("Version", VERSION), ("TopicArn", &self.arn), ("Subject", SUBJECT), ("Message", message)];
        let body = Serializer::new(String::new()).extend_pairs(fields).finish();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = http::Request::builder().method(Method::POST).uri(&self.endpoint).header(header::CONTENT_TYPE, form);
        let mut request: HttpRequest = request.body(body.into()).map_err(|error| error.to_string())?;
        let credential = self.account.credentials().get_credential().await;
        let credential = credential.map_err(|error| format!("no AWS credentials: {error}"))?;
        let signer = AwsAuthorizer::new(&credential, "sns", &self.region);
        signer.try_authorize(&mut request, None).map_err(|error| error.to_string())?;
        Ok(request)
    }
}
