//! The operations over a world in memory: virtual time, no socket, every answer decided by the test.

mod attacks;
mod bootstrap;
mod bounds;
mod cluster;
mod contacts;
mod crash;
mod doctor;
mod identity;
mod outbox;
mod pipeline;
mod prekeys;
mod providers;
mod quarantine;
mod receive;
mod rotation;
mod scenarios;
mod self_test;
mod send;
mod simulation;
mod upkeep;
mod world;
