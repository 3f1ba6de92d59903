//! `dnsproxy import`: a manifest made of another program's configuration.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::input;
use crate::import::{self, Imported};

/// `dnsproxy import`.
#[derive(Args, Clone, Debug)]
pub struct ImportArgs {
    /// Whose configuration it is.
    #[arg(value_enum)]
    pub format: Format,

    /// The configuration; `-` is standard input.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Programs of which the configuration can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// CoreDNS.
    Corefile,
    /// dnsmasq.
    Dnsmasq,
}

/// The manifest goes to stdout, what was not carried over to stderr. Exit code 1 when nothing could be read.
pub fn run(args: &ImportArgs) -> anyhow::Result<ExitCode> {
    let imported = match args.format {
        Format::Corefile => import::corefile::import(&input::read(&args.file)?),
        // Comments may be in any encoding.
        Format::Dnsmasq => {
            let octets = input::read_octets(&args.file)?;
            import::dnsmasq::import(&String::from_utf8_lossy(&octets))
        }
    };
    tell(&args.file, &imported);
    if imported.carried == 0 {
        anyhow::bail!("{}: no manifest could be made of it", args.file.display());
    }
    print!("{}", imported.text());
    Ok(ExitCode::SUCCESS)
}

fn tell(file: &Path, imported: &Imported) {
    for note in &imported.notes {
        let file = file.display();
        match note.line {
            0 => eprintln!("{file}: {note}"),
            line => eprintln!("{file}:{line}: {note}"),
        }
    }
}
