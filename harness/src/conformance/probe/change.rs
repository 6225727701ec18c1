//! How is the server changed for a while? By its admin hooks, and put back whatever comes of it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use crate::target::Vars;

use super::super::admin;
use super::{Probe, Stop};

/// No token lives so long that a clock is moved further to see its end: a hundred years.
const FURTHEST_S: f64 = 3.2e9;

impl Probe<'_> {
    /// Calls an admin hook of the profile.
    ///
    /// # Errors
    /// Inconclusive where the hook does not do its work.
    pub fn admin(&mut self, hook: &str, vars: &Vars) -> Result<(), Stop> {
        self.guard()?;
        self.hook(hook, vars)
    }

    /// Changes the server by a hook, does the work, and undoes the change: also where the work ended early, where the
    /// run was ended meanwhile, and where the check's time is over.
    ///
    /// # Errors
    /// Where the hook does not do its work; those of the work.
    pub fn changed<R>(
        &mut self,
        hook: &str,
        vars: &Vars,
        work: impl FnOnce(&mut Self) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        self.guard()?;
        self.undoing(hook, vars, |p| p.admin(hook, vars).and_then(|()| work(p)))
    }

    /// As [`changed`](Self::changed) where it is the work itself that calls the hook.
    ///
    /// # Errors
    /// Those of the work.
    pub fn undoing<R>(
        &mut self,
        hook: &str,
        vars: &Vars,
        work: impl FnOnce(&mut Self) -> Result<R, Stop>,
    ) -> Result<R, Stop> {
        self.finally(work, |p| match undo_of(hook).filter(|undo| p.target().has_hook(undo)) {
            Some(undo) => p.hook(undo, vars),
            None if p.target().has_hook("reset") => p.reset(vars),
            None => Ok(()),
        })
    }

    /// Restarts the server by its hook, and waits until it logs users in again.
    ///
    /// # Errors
    /// Inconclusive where the hook does not do its work, or no login works for long; or the run ends.
    pub fn restart(&mut self) -> Result<(), Stop> {
        const TRIES: usize = 40;
        let vars = self.vars();
        self.admin("restart", &vars)?;
        self.hang_up();
        self.begins_anew();
        for _ in 0..TRIES {
            match self.login_with(&vars) {
                Err(Stop::Skip(_) | Stop::Inconclusive(_)) => {
                    self.pause(Duration::from_millis(500), "the server to come back")?;
                }
                other => return other.map(|_| ()),
            }
        }
        Err(Stop::Inconclusive("no login works after the server was restarted".to_owned()))
    }

    /// Does work that moves the server's clock, and puts the clock back as [`changed`](Self::changed) puts back.
    ///
    /// # Errors
    /// Those of the work.
    pub fn clock_moved<R>(&mut self, work: impl FnOnce(&mut Self) -> Result<R, Stop>) -> Result<R, Stop> {
        self.moved = 0;
        self.finally(work, |p| {
            let vars = p.vars().set("seconds", -p.moved);
            match p.moved {
                0 => Ok(()),
                _ if p.target().has_hook("reset") => p.reset(&vars),
                _ => {
                    p.begins_anew();
                    p.hook("advance_clock", &vars)
                }
            }
        })
    }

    /// Moves the server's clock ahead, within [`clock_moved`](Self::clock_moved).
    ///
    /// # Errors
    /// Where the hook does not do its work, or no clock goes so far.
    pub fn move_clock(&mut self, seconds: f64) -> Result<(), Stop> {
        if seconds.is_nan() || seconds > FURTHEST_S {
            return Err(Stop::not_applicable(format!(
                "its tokens end in {seconds:.0} s, and no clock is moved so far"
            )));
        }
        let step = seconds.ceil() as i64;
        if step <= 0 {
            return Ok(());
        }
        let moved = self.admin("advance_clock", &self.vars().set("seconds", step));
        // A hook whose answer was lost may have done its work: a reset is right in either case.
        if moved.is_ok() || self.target().has_hook("reset") {
            self.moved += step;
        }
        moved
    }

    /// Does the work and then what undoes it, in whatever way the work ends. What cannot be undone is told beside what
    /// the work found.
    fn finally<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, Stop>,
        undo: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<R, Stop> {
        let worked = catch_unwind(AssertUnwindSafe(|| work(self)));
        if let Err(Stop::Inconclusive(why)) = undo(self) {
            self.inconclusive(None, "not-put-back", format!("the server was not put back as it was: {why}"));
        }
        worked.unwrap_or_else(|panic| resume_unwind(panic))
    }

    fn reset(&mut self, vars: &Vars) -> Result<(), Stop> {
        self.begins_anew();
        self.hook("reset", vars)
    }

    /// What was issued, measured and forged before says nothing of the server as it is from now on.
    fn begins_anew(&mut self) {
        self.session.drain();
        self.forget_base();
    }

    /// Calls a hook in any case: no end of the run stands between a server and its being put back.
    fn hook(&mut self, hook: &str, vars: &Vars) -> Result<(), Stop> {
        self.outcome.requests += 1;
        self.epoch = self.session.next_epoch();
        self.session.note_hook(hook);
        admin::run(self.session.target, hook, vars)
            .map_err(|why| Stop::Inconclusive(format!("the admin hook `{hook}` failed: {why}")))
    }
}

/// The hook that undoes another one; where there is none, or the profile has none, a reset does.
fn undo_of(hook: &str) -> Option<&'static str> {
    match hook {
        "disable_user" => Some("enable_user"),
        "delete_user" => Some("create_user"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::clock;
    use crate::conformance::find;
    use crate::conformance::session::Session;
    use crate::record::Redactor;
    use crate::scenario::Source;
    use crate::target::{Target, parse_profile};
    use crate::units::Nanos;

    /// A server whose hooks write down what they did, and how a check ends that changes it.
    fn hooked(prepare: impl Fn(&mut Session<'_>), check: impl FnOnce(&mut Probe<'_>, &Path, &AtomicBool)) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("state");
        let hook =
            |what: &str| format!("{{command: [sh, -c, '{}']}}", what.replace("FILE", &file.display().to_string()));
        let profile = format!(
            "schema: 1\nname: hooked\ndialect: simple\noperations: {{issue: {{request: {{path: /login}}, returns: {{access: /access}}}}}}\n\
             admin:\n  disable_user: {}\n  enable_user: {}\n  advance_clock: {}\n",
            hook("echo disabled >> FILE"),
            hook("rm FILE"),
            hook("echo ${seconds} >> FILE"),
        );
        let profile = parse_profile(&Source::new("hooked.yaml", ".", &*profile), None).unwrap();
        let target = Target::new(profile, "http://127.0.0.1:9", None, &[]).unwrap();
        let cancel = AtomicBool::new(false);
        let mut session = Session::new(&target, "bare", &cancel, Redactor::default());
        prepare(&mut session);
        check(&mut Probe::new(&session, find("issue-basic").unwrap(), &|_| {}, None), &file, &cancel);
    }

    #[test]
    fn a_run_that_is_ended_meanwhile_leaves_the_server_as_it_was() {
        hooked(
            |_| {},
            |p, file, cancel| {
                let ended = p.changed("disable_user", &Vars::new(), |p| {
                    assert!(file.exists());
                    cancel.store(true, Ordering::Relaxed);
                    p.pause(Duration::from_millis(1), "nothing")
                });
                assert!(matches!(ended, Err(Stop::Cancelled)) && !file.exists(), "{ended:?}");
            },
        );
    }

    #[test]
    fn a_check_whose_time_is_over_or_that_breaks_leaves_the_server_as_it_was() {
        let soon = |session: &mut Session<'_>| session.deadline = clock::mono() + Nanos(300_000_000);
        hooked(soon, |p, file, _| {
            let ended = p.changed("disable_user", &Vars::new(), |p| p.pause(Duration::from_secs(9), "nothing"));
            assert!(matches!(ended, Err(Stop::Inconclusive(_))) && !file.exists(), "{ended:?}");
        });
        hooked(
            |_| {},
            |p, file, _| {
                let broken: Result<Result<(), Stop>, _> = catch_unwind(AssertUnwindSafe(|| {
                    p.changed("disable_user", &Vars::new(), |_| resume_unwind(Box::new("broken")))
                }));
                assert!(broken.is_err() && !file.exists());
            },
        );
    }

    #[test]
    fn a_clock_goes_back_by_all_that_it_was_moved() {
        hooked(
            |_| {},
            |p, file, cancel| {
                let ended = p.clock_moved(|p| {
                    p.move_clock(4.5)?;
                    p.move_clock(7.0)?;
                    cancel.store(true, Ordering::Relaxed);
                    p.move_clock(9.0)
                });
                assert!(matches!(ended, Err(Stop::Cancelled)), "{ended:?}");
                assert_eq!(std::fs::read_to_string(file).unwrap(), "5\n7\n-12\n");
            },
        );
    }

    #[test]
    fn no_clock_is_moved_by_centuries() {
        hooked(
            |_| {},
            |p, file, _| {
                for odd in [1e300, f64::NAN, f64::INFINITY] {
                    let ended = p.clock_moved(|p| p.move_clock(odd));
                    assert!(matches!(ended, Err(Stop::Skip(_))) && !file.exists(), "{ended:?}");
                }
            },
        );
    }
}
