//! Which secrets does a profile hold, and how is a shell told of them?

use super::profile::{ClientEntry, SigningKey, User};
use super::server::Target;
use super::template::environment;

/// What the command line says of the profile's users: whoever repeats a finding has to say it too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Who logs in.
    pub login: bool,
    /// The password.
    pub password: bool,
    /// Who the second user is.
    pub second_login: bool,
    /// The second user's password.
    pub second_password: bool,
}

/// A secret of the profile and how a shell is told of it.
#[derive(Clone)]
pub struct Credential {
    /// The variable that holds it.
    pub variable: String,
    /// The secret.
    pub value: String,
    /// Whose it is: `the password of alice`.
    pub about: String,
}

impl Target {
    /// Every secret that the profile holds, for the redactor.
    pub fn secrets(&self) -> Vec<String> {
        let users = [&self.profile.user, &self.profile.second_user].into_iter().flatten().map(|u| u.password.as_str());
        let clients = [&self.profile.client, &self.profile.second_client]
            .into_iter()
            .flatten()
            .filter_map(|c| c.secret.as_deref());
        let keys = &self.profile.keys;
        let keys = [&keys.sign, &keys.refresh, &keys.decrypt].into_iter().flatten();
        let signing = keys.filter_map(|key| match key {
            SigningKey::Secret(text) | SigningKey::SecretBase64(text) => Some(text.as_str()),
            SigningKey::File(_) => None,
        });
        users.chain(clients).chain(signing).filter_map(|text| environment(text).ok()).collect()
    }

    /// Every password and client secret, and the variable of a shell that would hold it: the one that the profile takes
    /// it from, else one that is named for whose it is.
    pub fn credentials(&self) -> Vec<Credential> {
        let p = &self.profile;
        let password = |user: &Option<User>| user.as_ref().map(|u| (u.password.clone(), u.login.clone()));
        let secret = |client: &Option<ClientEntry>| {
            client.as_ref().and_then(|c| c.secret.clone().map(|secret| (secret, c.id.clone())))
        };
        let all = [
            ("PASSWORD", "password", password(&p.user)),
            ("SECOND_PASSWORD", "password", password(&p.second_user)),
            ("CLIENT_SECRET", "secret", secret(&p.client)),
            ("SECOND_CLIENT_SECRET", "secret", secret(&p.second_client)),
        ];
        let known = |(name, what, of): (&str, &str, Option<(String, String)>)| {
            let (text, owner) = of?;
            let taken = text.strip_prefix("${env:").and_then(|rest| rest.strip_suffix('}'));
            let variable = taken.unwrap_or(name).to_owned();
            Some(Credential { variable, value: environment(&text).ok()?, about: format!("the {what} of {owner}") })
        };
        all.into_iter().filter_map(known).collect()
    }

    /// The variables of the environment that the profile mentions anywhere, in alphabetical order.
    pub fn environment_names(&self) -> Vec<String> {
        let text = serde_json::to_string(&self.profile).unwrap_or_default();
        let names = text.split("${env:").skip(1).filter_map(|rest| rest.split('}').next()).map(str::to_owned);
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }
}
