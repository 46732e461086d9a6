//! What a job is run on, and how its keys are chosen.

/// What a job is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The engine inside this process, on files or devices.
    Embedded,
    /// A node over gRPC: the SDK's pipeline.
    Grpc,
    /// A node over gRPC: one call for each operation.
    GrpcUnary,
    /// A server that speaks RESP, Redis' protocol.
    Resp,
    /// The bare file or device, through a ring of each thread's own.
    Raw,
}

impl Engine {
    /// Its name in a job file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Embedded => "cairn-embedded",
            Self::Grpc => "cairn-grpc",
            Self::GrpcUnary => "cairn-grpc-unary",
            Self::Resp => "resp",
            Self::Raw => "raw/io_uring",
        }
    }

    /// Finds it by that name, or by fio's where the two mean the same.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "cairn-embedded" | "embedded" => Self::Embedded,
            "cairn-grpc" | "grpc" => Self::Grpc,
            "cairn-grpc-unary" | "grpc-unary" => Self::GrpcUnary,
            "resp" | "redis" => Self::Resp,
            "raw/io_uring" | "raw" | "io_uring" => Self::Raw,
            _ => {
                return Err(format!(
                    "{text:?} is none of cairn-embedded, cairn-grpc, cairn-grpc-unary, resp, raw/io_uring \
                     (io_uring means the last)"
                ));
            }
        })
    }

    /// Whether it has records; the bare device has blocks only.
    pub fn has_records(self) -> bool {
        self != Self::Raw
    }
}

/// How keys, or blocks, are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// The n-th most popular with a frequency of 1/n^theta.
    Zipf(f64),
    /// The share `1 - h` of all choices falls on the share `h` of the keys, and so on within it (self-similar).
    Pareto(f64),
    /// As Zipf, the newest being the most popular.
    Latest(f64),
    /// One after the other, each thread through a part of its own.
    Sequential,
}

/// YCSB's theta.
pub const THETA: f64 = 0.99;

impl Distribution {
    /// Parses fio's words, and ours.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, argument) = match text.split_once(':') {
            Some((name, argument)) => (name, Some(argument)),
            None => (text, None),
        };
        let number = |default: f64, fine: &dyn Fn(f64) -> bool, what: &str| match argument {
            None => Ok(default),
            Some(argument) => argument
                .parse()
                .ok()
                .filter(|number| fine(*number))
                .ok_or(format!("{text:?}: {what}")),
        };
        let theta = "theta is 0 or more and less than 5";
        let is_theta = |theta: f64| (0.0..5.0).contains(&theta);
        Ok(match name {
            "random" | "uniform" if argument.is_none() => Self::Uniform,
            "sequential" if argument.is_none() => Self::Sequential,
            "zipf" => Self::Zipf(number(THETA, &is_theta, theta)?),
            "latest" => Self::Latest(number(THETA, &is_theta, theta)?),
            "pareto" => {
                let is_share = |h: f64| h > 0.0 && h < 0.5;
                Self::Pareto(number(0.2, &is_share, "h is more than 0 and less than 0.5")?)
            }
            _ => {
                return Err(format!(
                    "{text:?} is none of random, zipf:THETA, pareto:H, latest:THETA, sequential"
                ));
            }
        })
    }
}

impl std::fmt::Display for Distribution {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uniform => f.write_str("random"),
            Self::Zipf(theta) => write!(f, "zipf:{theta}"),
            Self::Pareto(h) => write!(f, "pareto:{h}"),
            Self::Latest(theta) => write!(f, "latest:{theta}"),
            Self::Sequential => f.write_str("sequential"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A distribution that cannot be is refused, not taken for another.
    #[test]
    fn wrong_distributions_are_refused() {
        for text in ["zipf:x", "zipf:9", "zipf:-1", "normal", "pareto:0.7", "random:1"] {
            assert!(Distribution::parse(text).is_err(), "{text:?}");
        }
    }
}
