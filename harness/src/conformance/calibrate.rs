//! Can the target be judged at all? Controls before anything: genuine accepted, nothing and garbage refused.

use crate::record::Warning;
use crate::target::{TokenUse, Vars};

use super::descriptor::{Check, Isolation, Levels, cost};
use super::engine::Event;
use super::probe::Probe;
use super::session::{Session, Way};

/// What is presented as garbage: no server reads this as a token.
const GARBAGE: &str = "assay-no-token";

/// The calibration speaks through a probe of its own, under this name.
static CALIBRATION: Check = Check {
    id: "calibration",
    group: "CONTROL",
    requirement: "a genuine token is accepted, nothing and garbage are refused",
    sources: &[],
    levels: Levels::MUST,
    needs: &[],
    variants: &[],
    isolation: Isolation::Shared,
    cost: cost(10, 5),
    intrusive: false,
    flaws: &[],
    sends: "",
    why: "",
    remedy: "",
    run: |_| Ok(()),
};

/// Tries every verify way with nothing, with garbage and with a genuine token.
pub(super) fn calibrate(session: &mut Session<'_>, on_event: &(dyn Fn(Event) + Sync), warnings: &mut Vec<Warning>) {
    let names: Vec<String> = session.target.profile.verify_ways().into_iter().map(str::to_owned).collect();
    let topology = session.topology.to_owned();
    let mut ways = Vec::new();
    for name in names {
        let operation = format!("verify.{name}");
        let takes_refresh = session
            .target
            .profile
            .operations
            .get(&operation)
            .and_then(|o| o.accepts.as_ref())
            .is_some_and(|kinds| kinds.contains(&TokenUse::Refresh));
        ways.push(Way { operation, name, takes_refresh, accepts_genuine: false, refuses_nothing: true });
    }
    {
        let mut probe = Probe::new(session, &CALIBRATION, on_event, None);
        let genuine = probe.access();
        for way in &mut ways {
            let nothing = probe.call(&way.operation, &Vars::new());
            let garbage = probe.present(way, GARBAGE);
            way.refuses_nothing = !nothing.is_ok_and(|a| a.accepted());
            if garbage.is_ok_and(|a| a.accepted()) {
                let text = format!("`{}` accepts garbage by the profile's predicate", way.operation);
                let hint = "if the server is right, make `accepted` in the profile stricter (status and JSON)";
                warnings.push(Warning::new("accepts-garbage", text).at(&topology).hint(hint));
            }
            if let Ok(token) = &genuine {
                way.accepts_genuine = probe.present(way, token).is_ok_and(|a| a.accepted());
            }
            if !way.refuses_nothing {
                let text = format!("`{}` accepts a request without a token, so it cannot judge one", way.operation);
                let hint = "make `accepted` in the profile stricter, or name another operation";
                warnings.push(Warning::new("accepts-nothing", text).at(&topology).hint(hint));
            } else if !way.accepts_genuine && genuine.is_ok() {
                let text = format!(
                    "`{}` refuses a genuine access token by the profile's predicate: its refusals prove nothing",
                    way.operation
                );
                warnings.push(
                    Warning::new("refuses-genuine", text).at(&topology).hint("look at `accepted` in the profile"),
                );
            }
        }
        if genuine.is_err() && !ways.is_empty() {
            let text = "no login works, so that no genuine token can be shown beside a forged one";
            warnings.push(
                Warning::new("no-login", text)
                    .at(&topology)
                    .hint("give the right --user and --password, or `user:` in the profile"),
            );
        }
    }
    let usable = ways.iter().filter(|w| w.usable()).count();
    on_event(Event::Calibrated { ways: ways.len(), usable });
    session.ways = ways;
}
