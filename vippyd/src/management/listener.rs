//! The socket's file: made, found stale, found alive, removed.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};

/// Mode of the socket's file: the daemon's user and group may open it.
const MODE: u32 = 0o660;

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 64;

/// More symbolic links in a row than this are a loop.
const MAX_LINKS: u32 = 8;

/// Why there is no management socket. Nothing was changed on disk, except that
/// a stale socket may have been removed before `Io`.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// A program answers on the socket.
    #[error(
        "management socket {}: a daemon is already listening there; \
         expected a free path (is another vippyd running with this configuration?)",
        path.display()
    )]
    InUse {
        /// The socket's path.
        path: PathBuf,
    },
    /// Something else has that name.
    #[error("management socket {}: found {found}; expected a socket or nothing", path.display())]
    NotASocket {
        /// The socket's path.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The directory for it is missing.
    #[error(
        "management socket {}: directory {} does not exist; expected it to be there \
         before the daemon starts",
        path.display(), directory.display()
    )]
    NoDirectory {
        /// The socket's path.
        path: PathBuf,
        /// The missing directory.
        directory: PathBuf,
    },
    /// The system refused something.
    #[error("management socket {}: cannot {verb}: {source}", path.display())]
    Io {
        /// The socket's path.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// A listening socket whose file disappears with it, if the file is still ours.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Device and inode of the file that was made.
    file: (u64, u64),
}

/// Listens on `path`, mode 0660. A symbolic link is followed, even to where
/// nothing is yet, so that the usual path may lead into a directory that the
/// daemon's user can write (`systemd/`). A stale socket is replaced.
///
/// Needs a running tokio runtime. Touches the disk: call it before the loop.
pub fn bind(path: &Path) -> Result<Listener, ManagementError> {
    let path = follow_links(path)?;
    clear_the_way(&path)?;
    let error = |verb, source| ManagementError::Io { path: path.clone(), verb, source };
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)
        .map_err(|source| error("open it", source))?;
    let address = SockAddr::unix(&path).map_err(|source| error("use this path", source))?;
    socket.bind(&address).map_err(|source| error("create it", source))?;
    // The mode is set before anybody can connect: until `listen` they are refused.
    let prepare = || -> io::Result<Listener> {
        fs::set_permissions(&path, Permissions::from_mode(MODE))?;
        socket.listen(BACKLOG)?;
        let file = fs::symlink_metadata(&path)?;
        let socket = UnixListener::from_std(socket.into())?;
        Ok(Listener { socket, path: path.clone(), file: (file.dev(), file.ino()) })
    };
    prepare().map_err(|source| {
        // Ours since the bind above; the error is the news, not the clean-up.
        let _ = fs::remove_file(&path);
        error("listen on it", source)
    })
}

impl Listener {
    /// The file, after links were followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|file| (file.dev(), file.ino()) == self.file);
        if ours {
            // A file that cannot be removed is found stale at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn follow_links(path: &Path) -> Result<PathBuf, ManagementError> {
    let mut target = path.to_owned();
    for _ in 0..MAX_LINKS {
        let is_link = fs::symlink_metadata(&target).is_ok_and(|file| file.is_symlink());
        if !is_link {
            return Ok(target);
        }
        let next = fs::read_link(&target).map_err(|source| ManagementError::Io {
            path: path.to_owned(),
            verb: "follow the link",
            source,
        })?;
        target = directory_of(&target).join(next);
    }
    Err(ManagementError::NotASocket { path: path.to_owned(), found: "a loop of symbolic links" })
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Removes a stale socket; fails when something else is in the way.
fn clear_the_way(path: &Path) -> Result<(), ManagementError> {
    let error = |verb, source| ManagementError::Io { path: path.to_owned(), verb, source };
    let directory = directory_of(path);
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(error("use its directory", io::ErrorKind::NotADirectory.into())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            let (path, directory) = (path.to_owned(), directory.to_owned());
            return Err(ManagementError::NoDirectory { path, directory });
        }
        Err(source) => return Err(error("look into its directory", source)),
    }
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found.file_type(),
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(error("look at it", source)),
    };
    if !found.is_socket() {
        let found = if found.is_dir() { "a directory" } else { "a file that is no socket" };
        return Err(ManagementError::NotASocket { path: path.to_owned(), found });
    }
    if is_alive(path).map_err(|source| error("find out whether it is in use", source))? {
        return Err(ManagementError::InUse { path: path.to_owned() });
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(error("remove the stale one", source))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Connects to find out: a file says nothing about who listens.
fn is_alive(path: &Path) -> io::Result<bool> {
    // Non-blocking: a live daemon with a full backlog must not hold us up.
    let probe = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    let Err(error) = probe.connect(&SockAddr::unix(path)?) else { return Ok(true) };
    let kind = error.kind();
    if kind == io::ErrorKind::WouldBlock {
        Ok(true)
    } else if matches!(kind, io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) {
        Ok(false)
    } else {
        Err(error)
    }
}
