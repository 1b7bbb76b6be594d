//! A connection that asks a server for slots which are still moving to it.

use redis::{Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike, cmd};

/// A connection to a server of a cluster.
pub(super) struct AskingConnection<C> {
    pub(super) connection: C,
    /// Whether `ASKING` goes before each command, in one pipeline with it: a server to which a slot is moving
    /// does the command that follows, and no other.
    pub(super) asks: bool,
}

impl<C: ConnectionLike + Send> ConnectionLike for AskingConnection<C> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        if !self.asks {
            return self.connection.req_packed_command(command);
        }
        Box::pin(async move {
            let mut asking = Pipeline::with_capacity(2);
            asking.add_command(cmd("ASKING")).add_command(command.clone());
            let answers = self.connection.req_packed_commands(&asking, 0, 2).await?;
            Ok(answers.into_iter().next_back().unwrap_or(Value::Nil))
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        if !self.asks {
            return self.connection.req_packed_commands(pipeline, offset, count);
        }
        Box::pin(async move {
            let mut asking = Pipeline::with_capacity(2 * pipeline.len());
            for command in pipeline.cmd_iter() {
                asking.add_command(cmd("ASKING")).add_command(command.clone());
            }
            let answers = self.connection.req_packed_commands(&asking, 0, asking.len()).await?;
            Ok(answers.into_iter().skip(1).step_by(2).skip(offset).take(count).collect())
        })
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}
