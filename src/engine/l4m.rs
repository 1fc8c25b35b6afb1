//! The language model protocol, answered without a model.

use prost::Message;

use crate::limits;
use crate::protocols::l4m::request::Command;
use crate::protocols::l4m::{
    BatchSampleTopKRequest, BatchSampleTopKResponse, GetInfoResponse, Request, Response,
    SampleTopKResponse, response,
};

/// Tokens in a key-value block. Clients divide by it, so it is never 0; with no blocks to hand out it binds nothing.
pub const BLOCK_SIZE: u32 = 16;

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// An encoded `Response`.
    Answer(Vec<u8>),
    /// A command that has no answer by contract.
    Taken,
    /// Not a request of this protocol, and why.
    Refused(&'static str),
}

/// Answers one encoded `l4m.Request`.
pub fn answer(model_name: &str, bytes: &[u8]) -> Outcome {
    let Ok(request) = Request::decode(bytes) else {
        return Outcome::Refused("not an l4m request");
    };
    let Some(command) = request.command else {
        return Outcome::Refused("l4m request without a command");
    };
    let answer = match command {
        Command::GetInfo(_) => response::Command::GetInfo(info(model_name)),
        Command::SampleTopKRequest(batch) if batch.items.len() > limits::BATCH_ITEMS => {
            return Outcome::Refused("too many items in one batch");
        }
        Command::SampleTopKRequest(batch) => response::Command::SampleTopK(no_tokens(&batch)),
        _ => return Outcome::Taken,
    };
    let response = Response { correlation_id: request.correlation_id, command: Some(answer) };
    Outcome::Answer(response.encode_to_vec())
}

/// Nothing can be allocated: there is no model.
fn info(model_name: &str) -> GetInfoResponse {
    GetInfoResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        model_name: model_name.to_owned(),
        block_size: BLOCK_SIZE,
        num_available_blocks: 0,
        num_available_embeddings: 0,
        num_available_distributions: 0,
    }
}

/// One empty sample for each one asked for: a client that waits for the batch goes on, and is told no token.
fn no_tokens(batch: &BatchSampleTopKRequest) -> BatchSampleTopKResponse {
    BatchSampleTopKResponse { items: vec![SampleTopKResponse::default(); batch.items.len()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocols::l4m::{BatchAllocate, GetInfoRequest, SampleTopKRequest};

    fn asked(command: Command) -> Outcome {
        answer("org/m", &Request { correlation_id: 7, command: Some(command) }.encode_to_vec())
    }

    fn decoded(outcome: Outcome) -> Response {
        match outcome {
            Outcome::Answer(bytes) => Response::decode(&bytes[..]).expect("a response"),
            other => panic!("no answer but {other:?}"),
        }
    }

    #[test]
    fn info_names_the_model_and_promises_nothing() {
        let response = decoded(asked(Command::GetInfo(GetInfoRequest {})));
        assert_eq!(response.correlation_id, 7);
        let Some(response::Command::GetInfo(info)) = response.command else { panic!("no info") };
        assert_eq!(
            (info.model_name.as_str(), info.version.as_str()),
            ("org/m", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!((info.num_available_blocks, info.num_available_distributions), (0, 0));
    }

    #[test]
    fn a_sample_has_as_many_items_as_asked_for_and_no_token() {
        let items = vec![SampleTopKRequest { distribution_id: 1, k: 5 }; 3];
        let response = decoded(asked(Command::SampleTopKRequest(BatchSampleTopKRequest { items })));
        let Some(response::Command::SampleTopK(batch)) = response.command else {
            panic!("no sample")
        };
        assert_eq!(batch.items, vec![SampleTopKResponse::default(); 3]);
    }

    #[test]
    fn commands_without_an_answer_are_taken_and_nonsense_is_refused() {
        assert_eq!(asked(Command::Allocate(BatchAllocate::default())), Outcome::Taken);
        assert!(matches!(answer("m", &[0xff; 9]), Outcome::Refused(_)));
        assert!(matches!(answer("m", &[]), Outcome::Refused(_)));
    }

    #[test]
    fn an_oversized_batch_is_refused_instead_of_answered_in_kind() {
        let items = vec![SampleTopKRequest::default(); limits::BATCH_ITEMS + 1];
        let refused = asked(Command::SampleTopKRequest(BatchSampleTopKRequest { items }));
        assert!(matches!(refused, Outcome::Refused(_)));
    }
}
