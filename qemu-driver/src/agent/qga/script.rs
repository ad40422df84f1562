//! What a guest's shell is told to run a command as its user would: the qemu guest agent itself runs everything as root,
//! without a home, and replaces the environment.

use crate::agent::{ExecError, ExecRequest};

/// The exit code that says that the command was not run.
pub(super) const NOT_RUN: i32 = 125;
/// What the reason begins with, on standard error.
pub(super) const REASON: &[u8] = b"mvpnet-exec: ";

/// What a login shell has in any case; `/etc/environment` and the request come after it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Reads `/etc/environment`, lines of `NAME=value` with or without quotes (pam_env(8)).
const SYSTEM_ENVIRONMENT: &str = r#"if [ -r /etc/environment ]; then
while IFS= read -r line || [ -n "$line" ]; do
line=${line#export }
case $line in [A-Za-z_]*=*)
name=${line%%=*} value=${line#*=}
case $value in \"*\") value=${value#\"} value=${value%\"} ;; \'*\') value=${value#\'} value=${value%\'} ;; esac
case $name in *[!A-Za-z0-9_]*) ;; *) export "$name=$value" ;; esac
esac
done </etc/environment
fi
"#;

/// The script for `/bin/sh -c`.
pub(super) fn script(request: &ExecRequest) -> Result<String, ExecError> {
    let ExecRequest { argv, shell, user, env, cwd, stdin } = request;
    let user = user.as_deref().unwrap_or("root");
    if !is_name(user) {
        return Err(ExecError::Refused(format!("{user:?} cannot be the name of a user")));
    }
    let fail = |reason: &str| {
        format!("{{ echo {}; exit {NOT_RUN}; }} >&2\n", quote(&format!("mvpnet-exec: {reason}")))
    };
    let mut script =
        format!("id -u {user} >/dev/null 2>&1 || {}", fail(&format!("the guest has no user {user}")));
    // A name that was checked, for the tilde is not expanded in quotes.
    script += &format!("HOME=~{user} USER={user} LOGNAME={user} SHELL=/bin/sh PATH={PATH}\n");
    script += "export HOME USER LOGNAME SHELL PATH\n";
    script += SYSTEM_ENVIRONMENT;
    for (name, value) in env {
        if !is_variable(name) {
            return Err(ExecError::Refused(format!("{name:?} cannot be the name of a variable")));
        }
        script += &format!("export {name}={}\n", quote(value));
    }
    match cwd {
        Some(cwd) => {
            script += &format!(
                "cd {} 2>/dev/null || {}",
                quote(cwd),
                fail(&format!("cannot enter the directory {cwd}"))
            );
        }
        None => script += "cd \"$HOME\" 2>/dev/null || cd /\n",
    }
    if !stdin {
        script += "exec </dev/null\n";
    }
    let command = if *shell {
        argv.join(" ")
    } else {
        format!("exec {}", argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "))
    };
    let command = quote(&command);
    // A session of its own, so that a signal reaches all that the command starts.
    script += "set --\nif command -v setsid >/dev/null; then set -- setsid; fi\n";
    if user != "root" {
        script += &format!(
            "if command -v runuser >/dev/null; then exec \"$@\" runuser -u {user} -- /bin/sh -c {command}; fi\n\
             exec \"$@\" su -p -s /bin/sh -c {command} {user}\n"
        );
    } else {
        script += &format!("exec \"$@\" /bin/sh -c {command}\n");
    }
    Ok(script)
}

/// The script that sends a signal to a command and what it started.
pub(super) fn kill(pid: i64, signal: i32) -> String {
    // Not all shells' kill understands "--".
    format!("kill -{signal} -{pid} || kill -{signal} {pid}")
}

/// A word that a shell takes as it is.
fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn is_name(name: &str) -> bool {
    let start = name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_');
    start && name.chars().all(|other| other.is_ascii_alphanumeric() || "._-".contains(other))
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|other| other.is_ascii_alphanumeric() || other == '_')
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn request(argv: &[&str]) -> ExecRequest {
        ExecRequest { argv: argv.iter().map(|&word| word.into()).collect(), ..ExecRequest::default() }
    }

    fn is_root() -> bool {
        nix::unistd::geteuid().is_root()
    }

    /// What a shell makes of it, here.
    fn run(request: &ExecRequest) -> (String, i32) {
        let output = Command::new("/bin/sh").args(["-c", &script(request).unwrap()]).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
    }

    #[test]
    fn words_reach_the_command_as_they_are() {
        let request = request(&["printf", "%s|", "a b", "", "it's", "$HOME", "ü\n*"]);
        if is_root() {
            assert_eq!(run(&request), ("a b||it's|$HOME|ü\n*|".into(), 0));
        }
        assert!(script(&request).unwrap().contains("printf"));
    }

    #[test]
    fn a_shell_reads_the_words_if_it_is_to() {
        let request = ExecRequest { shell: true, ..request(&["echo", "$MINE;", "exit", "3"]) };
        let request = ExecRequest { env: vec![("MINE".into(), "a'b".into())], ..request };
        if is_root() {
            assert_eq!(run(&request), ("a'b\n".into(), 3));
        }
        assert!(script(&request).unwrap().contains(r"export MINE='a'\''b'"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for user in ["", "-x", "a b", "$(x)", "a/b", "ü"] {
            let request = ExecRequest { user: Some(user.into()), ..request(&["id"]) };
            assert!(matches!(script(&request), Err(ExecError::Refused(_))), "{user}");
        }
        for name in ["", "1A", "A B", "A-B"] {
            let request = ExecRequest { env: vec![(name.into(), String::new())], ..request(&["id"]) };
            assert!(matches!(script(&request), Err(ExecError::Refused(_))), "{name}");
        }
    }
}
