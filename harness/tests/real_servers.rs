//! Does the harness say the truth about servers that are not ours? Their packages come from PyPI, once.

use std::path::Path;

use assay::target;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the harness is a folder of the workspace")
}

#[test]
fn every_profile_of_the_real_servers_is_valid_in_every_variant() {
    for server in ["simplejwt", "django-oauth-toolkit", "fastapi", "resource-server"] {
        let folder = root().join("scenarios").join(server);
        let profile = target::load("profile.yaml", None, &folder).unwrap_or_else(|e| panic!("{server}: {e}"));
        for variant in profile.variants.keys() {
            target::load("profile.yaml", Some(variant), &folder).unwrap_or_else(|e| panic!("{server}, {variant}: {e}"));
        }
    }
}
