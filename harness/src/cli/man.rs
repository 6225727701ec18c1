//! `assay man`: the manual page, of all commands one after the other.

use assay::record::ExitCode;
use clap::CommandFactory;

use super::{Assay, Done, Failure, print};

/// Prints the page in roff: `assay man | man -l -`.
pub fn run() -> Done {
    let mut whole = Assay::command();
    whole.build();
    let mut page = Vec::new();
    clap_mangen::Man::new(whole.clone()).render(&mut page).map_err(Failure::harness)?;
    for command in whole.get_subcommands().filter(|command| !command.is_hide_set()) {
        clap_mangen::Man::new(command.clone()).render(&mut page).map_err(Failure::harness)?;
    }
    print(&page);
    Ok(ExitCode::Ok)
}
