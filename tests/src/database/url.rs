//! Database URLs as text: no URL that a user wrote is rewritten more than needed.

/// The same URL with another database.
pub(super) fn with_database(url: &str, database: &str) -> String {
    let (address, query) = match url.split_once('?') {
        Some((address, query)) => (address, format!("?{query}")),
        None => (url, String::new()),
    };
    let authority_at = address.find("://").map_or(0, |at| at + "://".len());
    let end = address
        .get(authority_at..)
        .and_then(|rest| rest.find('/'))
        .map_or(address.len(), |at| authority_at + at);
    format!("{}/{database}{query}", &address[..end])
}

/// For messages: what stands between the user's name and the host is blanked.
pub(super) fn without_password(url: &str) -> String {
    let Some((before, host)) = url.rsplit_once('@') else {
        return url.to_owned();
    };
    let Some((scheme, user)) = before.split_once("://") else {
        return url.to_owned();
    };
    let name = user.split(':').next().unwrap_or_default();
    format!("{scheme}://{name}@{host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced_and_its_options_are_kept() {
        let changed = with_database("postgres://a:b@host:5432/old?sslmode=require", "new");

        assert_eq!(changed, "postgres://a:b@host:5432/new?sslmode=require");
    }

    #[test]
    fn a_url_without_a_database_gets_one() {
        assert_eq!(with_database("postgres://a@host", "new"), "postgres://a@host/new");
    }

    #[test]
    fn a_message_never_shows_the_password() {
        assert_eq!(without_password("postgres://a:p@ss@host/db"), "postgres://a@host/db");
    }
}
