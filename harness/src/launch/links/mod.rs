//! One file for each kind of link: its row in the table, its settings, how its configuration is written.

pub(super) mod caddy;
pub(super) mod embedded;
pub(super) mod haproxy;
pub(super) mod nginx;
pub(super) mod process;
pub(super) mod reference;
