//! `dnsproxy check`: finds every problem of a manifest and runs its tests, without binding or asking anything.
//!
//! A manifest may be meant for a file or for a cluster; a few fields make sense in one of them only. It is
//! valid when it is valid for one of the two, and what the other one would refuse is told as a note.

use std::{cell::RefCell, path::Path, process::ExitCode};

use dnsproxy_api::{
    DnsProxy,
    manifest::{self, Manifests},
    validate::{Place, Problem},
};
use jiff::Timestamp;

mod material;

use super::{input, terminal::placed};
use crate::{args::CheckArgs, config::Names, expectations, lists::Problems};

/// Exit code 0 when the manifest is valid, 1 when it is not.
pub fn run(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    let text = input::read(&args.file)?;
    let folder = args.file.parent().unwrap_or_else(|| Path::new(""));
    let all_names = RefCell::new(Vec::new());
    let in_file = manifest::read_and(&text, Place::File, |proxy| {
        let names = Names::read(&proxy.spec, Some(folder), &Names::default());
        let problems = expectations::problems(proxy, &names);
        all_names.borrow_mut().push(names);
        problems
    });
    let in_cluster =
        manifest::read_and(&text, Place::Cluster, expectations::problems_without_files);
    if in_file.is_ok() {
        for names in all_names.take() {
            warn(&args.file, &names);
        }
        let now = Timestamp::now();
        let unusable = |proxy: &DnsProxy| material::problems(&proxy.spec.upstreams, folder, now);
        for problem in manifest::read_and(&text, Place::File, unusable).err().unwrap_or_default() {
            eprintln!("{}", placed(&args.file, &problem, "warning: "));
        }
    }
    match (in_file, in_cluster) {
        (Err(for_file), Err(for_cluster)) => {
            for problem in if is_for_cluster(&text) { for_cluster } else { for_file } {
                eprintln!("{}", placed(&args.file, &problem, ""));
            }
            Ok(ExitCode::FAILURE)
        }
        (Ok(valid), Ok(_)) => Ok(accept(&args.file, &valid, &[], "")),
        (Ok(valid), Err(elsewhere)) => Ok(accept(&args.file, &valid, &elsewhere, "in a cluster")),
        (Err(elsewhere), Ok(valid)) => Ok(accept(&args.file, &valid, &elsewhere, "in a file")),
    }
}

/// Which of the two a manifest is meant for that is good for neither: where less is wrong with it, whatever its tests say.
fn is_for_cluster(text: &str) -> bool {
    let wrong = |place| manifest::read(text, place).err().map_or(0, |problems| problems.len());
    wrong(Place::Cluster) < wrong(Place::File)
}

fn accept(file: &Path, valid: &Manifests, elsewhere: &[Problem], place: &str) -> ExitCode {
    for warning in &valid.warnings {
        eprintln!("{}", placed(file, warning, "warning: "));
    }
    for problem in elsewhere {
        let note = format!("note: {place} this would be refused: ");
        eprintln!("{}", placed(file, problem, &note));
    }
    let count = valid.proxies.len();
    println!(
        "{}: valid ({count} {})",
        file.display(),
        if count == 1 { "manifest" } else { "manifests" }
    );
    ExitCode::SUCCESS
}

/// What of lists and hosts would be passed over.
fn warn(file: &Path, names: &Names) {
    let file = file.display();
    for (path, Problems { count, first, sources }) in names.problems() {
        for reason in sources {
            eprintln!("{file}: warning: {path}: {reason}");
        }
        for line in first {
            eprintln!("{file}: warning: {path}: {line}");
        }
        let more = count.saturating_sub(first.len());
        if more > 0 {
            eprintln!("{file}: warning: {path}: and {more} more lines that cannot be read");
        }
    }
}
