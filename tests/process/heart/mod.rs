//! The parent process of the service: what happens when the service, or it, dies or stands still.

mod adopted;
mod ends;
mod lost;
mod program;
mod replaced;
