//! `assay completions SHELL`: which words can follow?

use assay::record::ExitCode;
use clap::CommandFactory;
use clap_complete::Shell;

use super::{Assay, Done, print};

/// Arguments of `assay completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  assay completions bash > ~/.local/share/bash-completion/completions/assay
  assay completions zsh > \"${fpath[1]}/_assay\"
  assay completions fish > ~/.config/fish/completions/assay.fish")]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Prints the script.
pub fn run(args: &Args) -> Done {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Assay::command(), "assay", &mut script);
    print(&script);
    Ok(ExitCode::Ok)
}
