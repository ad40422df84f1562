//! The Linux way of the lab: a kernel bridge with a vxlan interface per VNI (RFC 7348), made, mended and removed over
//! netlink, or written out as `ip` commands.
//!
//! - [`BridgePlan`] says what there is to be: one bridge for all tunnels (the switch host), or a bridge per tunnel to
//!   which a guest's tap is attached (the guests' host).
//! - [`up()`] makes what is missing and mends what differs, [`down()`] removes what [`up()`] made, [`state()`] looks,
//!   [`print()`] writes the commands, [`plug_in()`] makes a guest's tap.
//!
//! **What is ours is marked.** Every interface has the alias `mvpnet:NAME`, which `ip link show` shows. Nothing
//! without it is ever changed, and `down` needs no file that remembers what was made: it works after a crash too. The
//! kernel takes no alias with the request that makes an interface, but it takes a group number, so that an interface
//! is never without a mark; the alias then replaces the group.
//!
//! **All or nothing.** What is in the way is found before anything is done, and when the kernel refuses a step, what
//! this call had made is removed again.
//!
//! The functions are synchronous and run a small runtime of their own: call them outside of asynchronous code. They
//! act in the network namespace of the calling thread, one at a time in a namespace. No frame is moved here.

mod apply;
mod commands;
mod error;
mod link;
mod lock;
mod names;
mod netlink;
mod plan;
mod report;
mod state;
mod steps;
mod tap;
mod wanted;

use std::future::Future;

pub use commands::{Script, print};
pub use error::Error;
pub use names::DEFAULT_NAME;
pub use plan::{BridgePlan, Layout, PlanError, Tunnel};
pub use report::{Done, Report};
pub use state::{Interface, State, TunnelState};

use lock::Lock;
use names::Mark;
use netlink::Netlink;

/// Makes what the plan says: what is there already stays, what differs is mended. Tunnels of the same name that the
/// plan does not have stay too, so that several hosts can be added one by one; the report names them.
pub fn up(plan: &BridgePlan) -> Result<Report, Error> {
    let wanted = wanted::wanted(plan)?;
    let mark = Mark::new(&plan.name);
    run(async {
        let _lock = Lock::take().await?;
        apply::up(&Netlink::open()?, &mark, &wanted).await
    })
}

/// Removes what [`up()`] made under this name, and nothing else. Nothing there is fine: the report is empty.
pub fn down(name: &str) -> Result<Report, Error> {
    names::check(name)?;
    let mark = Mark::new(name);
    run(async {
        let _lock = Lock::take().await?;
        apply::down(&Netlink::open()?, &mark).await
    })
}

/// What is there under this name. Needs no privilege.
pub fn state(name: &str) -> Result<State, Error> {
    names::check(name)?;
    run(async { Ok(State::new(name, &Netlink::open()?.links().await?)) })
}

/// All names under which something is there, in alphabetical order. Needs no privilege.
pub fn names() -> Result<Vec<String>, Error> {
    run(async { Ok(names::all(&Netlink::open()?.links().await?)) })
}

/// Makes a tap for a guest, unless it is there, gives it the bridge's MTU, makes it a port of the bridge and switches it
/// on. It stays until it is deleted.
pub fn plug_in(tap: &str, bridge: &str) -> Result<(), Error> {
    run(async { tap::plug_in(&Netlink::open()?, tap, bridge).await })
}

/// Runs something on a runtime of its own, in this thread.
fn run<T>(task: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Netlink)?.block_on(task)
}
