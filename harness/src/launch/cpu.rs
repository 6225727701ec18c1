//! Which processor does what? The generator on one of its own, servers and proxies on the rest.

/// Who runs on which processors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuPlan {
    /// Where the load is generated.
    pub generator: Vec<u32>,
    /// Where servers and proxies run.
    pub servers: Vec<u32>,
    /// Whether parties that are compared share a processor: with fewer than three, server and proxy do
    /// (what is measured is then the hop plus contention), with one the generator as well.
    pub shared: bool,
}

impl CpuPlan {
    /// The plan for processors 0 to `cores - 1`, one of them for the generator.
    pub fn for_machine(cores: u32) -> CpuPlan {
        CpuPlan::among(&(0..cores.max(1)).collect::<Vec<_>>())
    }

    /// The plan for the processors that this process may use, one of them for the generator.
    pub fn of_this_process() -> CpuPlan {
        CpuPlan::among(&allowed())
    }

    /// The plan for the processors that this process may use, so many of them for the generator.
    ///
    /// # Errors
    /// Where there are fewer, in words for the user.
    pub fn with_generators(cores: u32) -> Result<CpuPlan, String> {
        CpuPlan::split(&allowed(), cores)
    }

    /// The plan for these processors, one of them for the generator.
    pub fn among(cpus: &[u32]) -> CpuPlan {
        CpuPlan::split(cpus, 1).unwrap_or(CpuPlan { generator: vec![0], servers: vec![0], shared: true })
    }

    /// The plan for these processors: the first for the generator, the rest for servers and proxies; where nothing is
    /// left, they share all of them.
    ///
    /// # Errors
    /// Where there are fewer processors than that, in words for the user.
    pub fn split(cpus: &[u32], generators: u32) -> Result<CpuPlan, String> {
        let wanted = generators.max(1) as usize;
        if wanted > cpus.len() {
            return Err(format!(
                "expected at most {} for the generator, saw `cores: {wanted}`: more are not there for this process; \
                 hint: `nproc` counts them, and each loop needs one",
                if cpus.len() == 1 { "1 core".to_owned() } else { format!("{} cores", cpus.len()) },
            ));
        }
        let (generator, rest) = cpus.split_at(wanted);
        Ok(CpuPlan {
            generator: generator.to_vec(),
            servers: if rest.is_empty() { cpus.to_vec() } else { rest.to_vec() },
            shared: rest.len() < 2,
        })
    }

    /// One sentence for reports.
    pub fn describe(&self) -> String {
        let list = |cpus: &[u32]| cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        let processors = |cpus: &[u32]| format!("processor{} {}", if cpus.len() == 1 { "" } else { "s" }, list(cpus));
        if self.generator == self.servers {
            return format!("generator, server and proxy share {}", processors(&self.servers));
        }
        let together = if self.shared { " together" } else { "" };
        format!("generator on {}, server and proxy{together} on {}", processors(&self.generator), list(&self.servers))
    }
}

/// The processors that this process may use.
fn allowed() -> Vec<u32> {
    let set = rustix::thread::sched_getaffinity(None);
    let all = |set: rustix::thread::CpuSet| (0..rustix::thread::CpuSet::MAX_CPU).filter(move |cpu| set.is_set(*cpu));
    set.map(|set| all(set).map(|cpu| cpu as u32).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cores: u32, generator: &[u32], servers: &[u32], shared: bool) {
        let plan = CpuPlan::for_machine(cores);
        assert_eq!((plan.generator.as_slice(), plan.servers.as_slice(), plan.shared), (generator, servers, shared));
    }

    #[test]
    fn the_generator_has_a_processor_of_its_own_where_there_are_two() {
        check(0, &[0], &[0], true);
        check(1, &[0], &[0], true);
        check(2, &[0], &[1], true);
        check(4, &[0], &[1, 2, 3], false);
    }

    #[test]
    fn the_generator_may_have_several_and_never_more_than_there_are() {
        let split = |cpus: &[u32], cores| CpuPlan::split(cpus, cores).map(|p| (p.generator, p.servers, p.shared));
        assert_eq!(split(&[0, 1, 2, 3], 2), Ok((vec![0, 1], vec![2, 3], false)));
        assert_eq!(split(&[0, 1, 2], 2), Ok((vec![0, 1], vec![2], true)));
        assert_eq!(split(&[4, 6], 2), Ok((vec![4, 6], vec![4, 6], true)));
        let refused = split(&[4, 6], 3).unwrap_err();
        assert!(refused.contains("at most 2 cores") && refused.contains("cores: 3"), "{refused}");
        assert!(split(&[], 1).is_err());
    }

    #[test]
    fn a_plan_says_what_is_shared() {
        assert_eq!(CpuPlan::for_machine(1).describe(), "generator, server and proxy share processor 0");
        assert_eq!(CpuPlan::for_machine(2).describe(), "generator on processor 0, server and proxy together on 1");
        assert_eq!(CpuPlan::among(&[4, 6, 7]).describe(), "generator on processor 4, server and proxy on 6,7");
    }
}
