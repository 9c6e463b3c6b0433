//! Clusters of this machine by name, for `launch --cluster NAME`.
//!
//! In: a name. Out: where its coordinator is and who we are there, as `windrow cluster start` has written it down. Never: for the library
//! itself: only a program's flags name clusters.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{
    cluster::drive::ClusterAddress,
    error::{Cause, Kind, Result},
};

/// The cluster that was started under this name.
pub(super) fn address(name: &str) -> Result<ClusterAddress> {
    let unknown = || NamedError::Unknown { name: name.to_owned() };
    let is_name = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric()) && !name.contains(['/', '\0']);
    let folder = clusters().filter(|_| is_name).ok_or_else(unknown)?.join(name);
    let path = folder.join("cluster.json");
    let text = fs::read_to_string(&path).map_err(|_| unknown())?;
    let coordinator = coordinator_of(&text).ok_or(NamedError::Unreadable { path })?;
    Ok(ClusterAddress { coordinator, identity: folder.join("identity").join("client") })
}

fn coordinator_of(record: &str) -> Option<SocketAddr> {
    let record: serde_json::Value = serde_json::from_str(record).ok()?;
    record.get("coordinator")?.get("address")?.as_str()?.parse().ok()
}

/// `$WINDROW_STATE_DIR`, else `$XDG_STATE_HOME/windrow`, else `~/.local/state/windrow`; in it `clusters`.
fn clusters() -> Option<PathBuf> {
    let set = |variable| env::var_os(variable).map(PathBuf::from).filter(|path: &PathBuf| !path.as_os_str().is_empty());
    let absolute = |path: &Path| path.is_absolute();
    let state = set("WINDROW_STATE_DIR").and_then(|path| std::path::absolute(path).ok());
    let xdg = || set("XDG_STATE_HOME").filter(|path| absolute(path)).map(|path| path.join("windrow"));
    let home = || set("HOME").filter(|path| absolute(path)).map(|path| path.join(".local/state/windrow"));
    Some(state.or_else(xdg).or_else(home)?.join("clusters"))
}

#[derive(Debug, thiserror::Error)]
enum NamedError {
    #[error("reaching the cluster {name:?}: no cluster of this name was started here")]
    Unknown { name: String },
    #[error("reading {}: it does not say where the coordinator is", path.display())]
    Unreadable { path: PathBuf },
}

impl Cause for NamedError {
    fn kind(&self) -> Kind {
        Kind::Unreachable
    }
    fn hint(&self) -> Option<String> {
        Some("`windrow cluster start --local N` starts one, named local unless told otherwise".to_owned())
    }
}
