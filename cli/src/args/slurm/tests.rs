use super::*;

/// As `scontrol --oneliner show job` of 22.05 prints it, but for what nobody reads.
const JOB: &str = "JobId=9 JobName=my job JobState=RUNNING ExitCode=0:0 RunTime=00:00:01 TimeLimit=1-00:02:00 \
                   TimeMin=N/A NodeList=slurm0 NumNodes=1 NumCPUs=4 NumTasks=2 CPUs/Task=2 \
                   TRES=cpu=4,mem=3000M,node=1,billing=4 MinCPUsNode=2 MinMemoryNode=3000M MinTmpDiskNode=0";
const CONFIG: &str = "KeepAliveTime           = SYSTEM_DEFAULT\nKillOnBadExit           = 0\nKillWait                = 45 sec\n";

fn env(vars: &[(&str, &str)]) -> Option<SlurmEnv> {
    SlurmEnv::of(|name| vars.iter().find(|(var, _)| *var == name).map(|(_, value)| value.to_string()))
}

fn inside(more: &[(&str, &str)]) -> SlurmEnv {
    let vars = [&[("SLURMD_NODENAME", "n1"), ("SLURM_JOB_ID", "17")], more].concat();
    env(&vars).unwrap()
}

fn portion(env: &SlurmEnv, ranks: u32) -> Portion {
    env.portion(&SlurmFacts::default(), (0..ranks).collect(), false, None)
}

#[test]
fn who_is_not_on_a_node_of_the_allocation_has_none() {
    assert_eq!(env(&[]), None);
    // A shell of salloc on a login node.
    assert_eq!(env(&[("SLURM_JOB_ID", "17"), ("SLURM_MEM_PER_NODE", "9000")]), None);
    assert_eq!(env(&[("SLURMD_NODENAME", "n1"), ("SLURM_JOB_ID", "../x")]), None);
}

#[test]
fn the_memory_of_a_node_is_shared_by_its_guests_but_for_what_qemu_needs() {
    let job = inside(&[("SLURM_MEM_PER_NODE", "3000")]);
    assert_eq!(portion(&job, 2).memory_of_each(|_| None), Some(1500 - 256));
    assert_eq!(portion(&job, 1).memory_of_each(|_| None), Some(3000 - 300));
    // Rank 1 has its own.
    assert_eq!(portion(&job, 3).memory_of_each(|rank| (rank == 1).then_some(744)), Some(1000 - 256));
    assert_eq!(portion(&job, 2).memory_of_each(|_| Some(512)), None);
    assert_eq!(portion(&job, 30).memory_of_each(|_| None), Some(64));
}

#[test]
fn memory_per_cpu_counts_for_the_cpus_of_this_host() {
    let job = inside(&[("SLURM_MEM_PER_CPU", "1000"), ("SLURM_CPUS_ON_NODE", "6")]);
    assert_eq!(portion(&job, 2).memory_mib, Some(6000));
    assert_eq!(portion(&inside(&[("SLURM_MEM_PER_CPU", "1000")]), 2).memory_mib, None);
}

#[test]
fn what_the_host_enforces_bounds_what_the_job_asked_for() {
    let job = inside(&[("SLURM_MEM_PER_NODE", "3000")]);
    let with = |limit| job.portion(&SlurmFacts::default(), vec![0], false, limit).memory_mib;
    assert_eq!((with(Some(500)), with(Some(9000))), (Some(500), Some(3000)));
}

#[test]
fn guests_have_the_cpus_of_a_task_and_no_more_than_their_share() {
    let job = inside(&[("SLURM_CPUS_PER_TASK", "4"), ("SLURM_CPUS_ON_NODE", "8")]);
    assert_eq!([1, 2, 3, 9].map(|ranks| portion(&job, ranks).cpus), [Some(4), Some(4), Some(2), Some(1)]);
    // All guests in one task.
    let up = |ranks: u32| job.portion(&SlurmFacts::default(), (0..ranks).collect(), true, None).cpus;
    assert_eq!([1, 2, 8].map(up), [Some(8), Some(4), Some(1)]);
    // Who asks for no CPUs has one for each task, as everywhere.
    assert_eq!(portion(&inside(&[("SLURM_CPUS_ON_NODE", "8")]), 2).cpus, None);
}

#[test]
fn slurm_tells_what_the_environment_does_not() {
    let facts = SlurmFacts::of(JOB, CONFIG);
    assert_eq!(facts.time_left(), Some(Duration::from_secs(24 * 3600 + 119)));
    assert_eq!(facts.kill_wait(), Duration::from_secs(45));
    let memory = |facts: &SlurmFacts, vars: &[(&str, &str)]| {
        inside(vars).portion(facts, vec![0], false, None).memory_mib
    };
    assert_eq!(memory(&facts, &[]), Some(3000));
    assert_eq!(memory(&facts, &[("SLURM_MEM_PER_NODE", "2000")]), Some(2000));
    let per_cpu = SlurmFacts::of("TRES=cpu=4,mem=2G NumNodes=1 MinMemoryCPU=512M", "");
    assert_eq!(memory(&per_cpu, &[("SLURM_CPUS_ON_NODE", "4")]), Some(2048));
    // The whole of two nodes.
    let whole = SlurmFacts::of("TRES=cpu=4,mem=15.50G,node=2 NumNodes=2 MinMemoryNode=0", "");
    assert_eq!(memory(&whole, &[]), Some(7936));
}

#[test]
fn a_job_without_limits_and_an_answer_that_makes_no_sense_say_nothing() {
    let unlimited = SlurmFacts::of("TimeLimit=UNLIMITED RunTime=00:00:01", "");
    assert!(unlimited.has_no_limit() && unlimited.time_left().is_none());
    for job in ["", "TimeLimit=01:00 RunTime=x MinMemoryNode=lots", "TRES=mem=5G NumNodes=0"] {
        assert_eq!(SlurmFacts::of(job, "KillWait"), SlurmFacts::default(), "{job}");
    }
    assert_eq!(SlurmFacts::default().kill_wait(), Duration::from_secs(30));
}

#[test]
fn control_groups_of_both_kinds_limit_by_the_least_above() {
    let files = [
        ("/sys/fs/cgroup/slurm/job/step/memory.max", "max\n"),
        ("/sys/fs/cgroup/slurm/job/memory.max", "1048576000\n"),
        ("/sys/fs/cgroup/slurm/memory.max", "2097152000\n"),
        ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "524288000\n"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
    ];
    let read = |path: &Path| {
        files.iter().find(|(file, _)| Path::new(file) == path).map(|(_, text)| text.to_string())
    };
    assert_eq!(group_limit("0::/slurm/job/step\n", read), Some(1000));
    assert_eq!(group_limit("5:cpu,cpuacct:/\n4:memory:/a/b\n", read), Some(500));
    assert_eq!(group_limit("4:memory:/\n0::/\n", read), None);
    assert_eq!(group_limit("nonsense", read), None);
}
