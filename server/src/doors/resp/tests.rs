//! What the door promises about waiting: for durability, for other clients, for a node that stops. On a simulated device that does
//! nothing before the test says so: each of these mistakes would need luck to be seen on a real one.

mod durable;
mod ending;
mod placing;
mod plain;
mod rig;
mod turns;
