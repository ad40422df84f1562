//! The program as it is called: what it prints where, and its exit code, before any guest starts.

use std::process::{Command, Output};

/// Runs the program as `rank` of an MPI job, or outside of one.
fn mvpnet(rank: Option<u32>, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mvpnet"));
    let launchers = ["PMI_", "PMIX_", "OMPI_", "SLURM_", "MPI_"];
    for (name, _) in std::env::vars_os() {
        if launchers.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    if let Some(rank) = rank {
        command.env("PMI_RANK", rank.to_string()).env("PMI_SIZE", "2");
    }
    command.args(arguments).output().expect("the program that cargo built starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("messages are UTF-8")
}

#[test]
fn wrong_usage_is_one_message_for_the_job_and_exit_code_2() {
    for rank in [None, Some(0), Some(1)] {
        let output = mvpnet(rank, &["-m", "lots", "-i", "x.img"]);
        let speaks = rank != Some(1);
        assert_eq!(output.status.code(), Some(if speaks { 2 } else { 0 }), "{rank:?}");
        assert_eq!(text(&output.stdout), "");
        let expected = "mvpnet: --memory lots: expected a size: MiB as a plain number, \
                        or with a unit like 512M or 4G\n";
        assert_eq!(text(&output.stderr), if speaks { expected } else { "" });
    }
}

#[test]
fn help_and_version_are_output_not_errors_and_come_once() {
    for (arguments, part) in
        [(["-h"], "Usage: mpirun -n N mvpnet"), (["--help"], "EXIT STATUS"), (["--version"], "MPI: ")]
    {
        let output = mvpnet(Some(0), &arguments);
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""), "{arguments:?}");
        assert!(text(&output.stdout).contains(part), "{arguments:?}");
        assert!(!text(&output.stdout).contains('\x1b'), "no colours into a pipe");
        let other = mvpnet(Some(1), &arguments);
        assert_eq!((other.status.code(), text(&other.stdout)), (Some(0), ""), "{arguments:?}");
    }
}
