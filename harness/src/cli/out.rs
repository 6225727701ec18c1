//! How does a line reach the terminal without a panic? A reader that has gone (`| head`) is no error of ours.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};
use std::sync::Mutex;

static TROUBLE: Mutex<Option<String>> = Mutex::new(None);

/// Writes to standard output: results, and nothing else.
pub fn print(bytes: &[u8]) {
    let mut trouble = TROUBLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if trouble.is_some() {
        return;
    }
    let mut stdout = std::io::stdout().lock();
    if let Err(why) = stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        *trouble = Some(if why.kind() == ErrorKind::BrokenPipe { String::new() } else { why.to_string() });
    }
}

/// Writes a line to standard output.
pub fn line(text: Arguments<'_>) {
    print(format!("{text}\n").as_bytes());
}

/// Writes a line to standard error: everything that is no result.
pub fn tell(text: Arguments<'_>) {
    // Where even this cannot be written there is nobody left to tell.
    let _ = std::io::stderr().lock().write_all(format!("{text}\n").as_bytes());
}

/// Why standard output could not be written, unless its reader has merely gone.
pub fn trouble() -> Option<String> {
    TROUBLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone().filter(|why| !why.is_empty())
}
