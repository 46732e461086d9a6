//! x
/// x
#[derive(Debug, clap::Args)]
pub struct Args {}
impl Args { /// x
pub fn run(self) -> crate::failure::Result { Ok(()) } }
