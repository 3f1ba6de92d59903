//! How much memory this process may have: the limit of its control group, or of one above it.
//!
//! In a container the group is mounted at the root of the file system of groups, whatever path the kernel
//! names; on a host it stands at that path, and what is above it holds as well. So the whole way up is
//! looked at, and what is not there says nothing. Version 2 says `max` where there is no limit, version 1 a
//! number that is larger than any memory (kernel documentation: admin-guide/cgroup-v2, cgroup-v1/memory).

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

/// The smallest limit that holds for this process, in octets; `None` when there is none.
pub(crate) fn limit_of_process() -> Option<u64> {
    limit(Path::new("/"))
}

/// `root` is where the file system begins.
fn limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    groups.lines().filter_map(|line| limit_of(root, line)).min()
}

/// The smallest limit of a line `hierarchy:controllers:path` and of what is above that path.
fn limit_of(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let (mount, file) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        controllers if controllers.split(',').any(|it| it == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return None,
    };
    let inner = inside(path);
    let groups = inner.ancestors().map(|group| root.join(mount).join(group).join(file));
    groups.filter_map(|file| number(&fs::read_to_string(file).ok()?)).min()
}

/// The path of a group below the mount; a group outside of what is mounted (`/../other`) is not to be seen.
fn inside(path: &str) -> PathBuf {
    let path = Path::new(path);
    let is_outside = path.components().any(|part| part == Component::ParentDir);
    if is_outside { PathBuf::new() } else { path.components().skip(1).collect() }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < UNLIMITED)
}

/// More than this is version 1's way to say that there is no limit: it rounds 2^63 - 1 down to a page, and
/// pages differ.
const UNLIMITED: u64 = 1 << 62;

#[cfg(test)]
mod tests {
    use super::*;

    /// A root of a file system with these files.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let folder =
                std::env::temp_dir().join(format!("dnsproxy-memory-{name}-{}", std::process::id()));
            for (path, text) in files {
                let path = folder.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(folder)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    #[test]
    fn the_smallest_limit_on_the_way_up_holds() {
        const SELF: &str = "proc/self/cgroup";
        const V1_NONE: &str = "9223372036854771712\n";
        type Case<'c> = (&'c str, &'c [(&'c str, &'c str)], Option<u64>);
        let cases: [Case<'_>; 12] = [
            // (why, files, limit in octets)
            ("no groups at all", &[], None),
            (
                "a container has its group at the root",
                &[(SELF, "0::/\n"), ("sys/fs/cgroup/memory.max", "134217728\n")],
                Some(134_217_728),
            ),
            ("no limit", &[(SELF, "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")], None),
            (
                "the own group",
                &[
                    (SELF, "0::/a/b\n"),
                    ("sys/fs/cgroup/a/memory.max", "3000\n"),
                    ("sys/fs/cgroup/a/b/memory.max", "2000\n"),
                ],
                Some(2000),
            ),
            (
                "a group above it that has less",
                &[
                    (SELF, "0::/a/b/c\n"),
                    ("sys/fs/cgroup/memory.max", "5000\n"),
                    ("sys/fs/cgroup/a/memory.max", "1000\n"),
                    ("sys/fs/cgroup/a/b/c/memory.max", "max\n"),
                ],
                Some(1000),
            ),
            (
                "a group outside of what is mounted: only its root is to be seen",
                &[
                    (SELF, "0::/../other\n"),
                    ("sys/fs/cgroup/memory.max", "4000\n"),
                    ("sys/fs/other/memory.max", "1\n"),
                ],
                Some(4000),
            ),
            (
                "version 1",
                &[
                    (SELF, "4:cpu,cpuacct:/a\n3:memory:/a\n1:name=systemd:/a\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", V1_NONE),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "7000\n"),
                ],
                Some(7000),
            ),
            (
                "version 1 without a limit",
                &[(SELF, "3:memory:/\n"), ("sys/fs/cgroup/memory/memory.limit_in_bytes", V1_NONE)],
                None,
            ),
            (
                "version 1 in a container: the path is the host's",
                &[
                    (SELF, "3:hugetlb,memory:/docker/x\n"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "8000\n"),
                ],
                Some(8000),
            ),
            (
                "both versions: memory is in one of them",
                &[
                    (SELF, "3:memory:/a\n0::/a\n"),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "9000\n"),
                ],
                Some(9000),
            ),
            (
                "a limit in each: the smaller one, wherever it stands",
                &[
                    (SELF, "3:memory:/a\n0::/a\n"),
                    ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "100\n"),
                    ("sys/fs/cgroup/a/memory.max", "9000\n"),
                ],
                Some(100),
            ),
            (
                "nonsense says nothing",
                &[(SELF, "0\n0::/a:b\n"), ("sys/fs/cgroup/a:b/memory.max", "much\n")],
                None,
            ),
        ];

        for (index, (why, files, expected)) in cases.into_iter().enumerate() {
            let root = Root::new(&index.to_string(), files);
            assert_eq!(limit(&root.0), expected, "{why}");
        }
    }
}
