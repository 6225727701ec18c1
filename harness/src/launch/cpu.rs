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
    /// The plan for processors 0 to `cores - 1`.
    pub fn for_machine(cores: u32) -> CpuPlan {
        CpuPlan::among(&(0..cores.max(1)).collect::<Vec<_>>())
    }

    /// The plan for the processors that this process may use.
    pub fn of_this_process() -> CpuPlan {
        let allowed: Vec<u32> = rustix::thread::sched_getaffinity(None)
            .map(|set| {
                (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).map(|cpu| cpu as u32).collect()
            })
            .unwrap_or_default();
        CpuPlan::among(&allowed)
    }

    /// The plan for these processors.
    pub fn among(cpus: &[u32]) -> CpuPlan {
        match cpus {
            [] => CpuPlan { generator: vec![0], servers: vec![0], shared: true },
            [only] => CpuPlan { generator: vec![*only], servers: vec![*only], shared: true },
            [first, rest @ ..] => CpuPlan { generator: vec![*first], servers: rest.to_vec(), shared: rest.len() < 2 },
        }
    }

    /// One sentence for reports.
    pub fn describe(&self) -> String {
        let list = |cpus: &[u32]| cpus.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
        if self.generator == self.servers {
            return format!("generator, server and proxy share processor {}", list(&self.servers));
        }
        let together = if self.shared { " together" } else { "" };
        format!(
            "generator on processor {}, server and proxy{together} on {}",
            list(&self.generator),
            list(&self.servers)
        )
    }
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
    fn a_plan_says_what_is_shared() {
        assert_eq!(CpuPlan::for_machine(1).describe(), "generator, server and proxy share processor 0");
        assert_eq!(CpuPlan::for_machine(2).describe(), "generator on processor 0, server and proxy together on 1");
        assert_eq!(CpuPlan::among(&[4, 6, 7]).describe(), "generator on processor 4, server and proxy on 6,7");
    }
}
