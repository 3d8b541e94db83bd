//! The fleet is held to the same rules as the launchers that it stands in for.

use bot_model::ids::InstanceId;
use bot_store::protocol::claim::{Claimed, Claimer, claim_all};
use chrono::Utc;
use controller::launch::conformance;
use serde_json::json;

use crate::fleet::Fleet;
use crate::site::{LIMIT, Site};

async fn claim(site: &Site, id: &str) -> Claimed {
    let id: InstanceId = site.queue(id, json!({})).await;
    let claimer = Claimer { controller_id: "c".into(), ttl: LIMIT };
    claim_all(site.store.as_ref(), vec![site.record(&id).await], &claimer, Utc::now()).await.remove(0).unwrap().unwrap()
}

macro_rules! conforms {
    ($($name:ident),*) => { $(
        #[tokio::test]
        async fn $name() {
            let site = Site::new(2).await;
            conformance::$name(&Fleet::new(2), &claim(&site, "b1").await).await;
        }
    )* };
}

conforms!(
    what_was_launched_is_listed,
    a_second_launch_finds_the_first,
    launches_at_once_start_one_run,
    only_what_is_over_is_removed,
    a_finalize_run_is_a_run
);

#[tokio::test]
async fn the_number_of_runs_is_bounded() {
    let site = Site::new(2).await;
    let claims = [claim(&site, "b1").await, claim(&site, "b2").await, claim(&site, "b3").await];
    conformance::the_number_of_runs_is_bounded(&Fleet::new(2), &claims).await;
}
