//! The name that the existing images give their file.

use data_encoding::BASE64URL_NOPAD;

/// URL-safe base64 of the user's id, the bot's id and a try that is always 0. Ids of a length that needs padding would leave open
/// whether an image writes it; ours never do.
pub(super) fn stem(user_id: &str, bot_id: &str) -> String {
    BASE64URL_NOPAD.encode(format!("{user_id}{bot_id}0").as_bytes())
}
