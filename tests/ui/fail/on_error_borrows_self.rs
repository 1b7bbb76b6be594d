use distlock::distributed_lock;

struct Till {
    sold: u64,
}

impl Till {
    #[distributed_lock(key = "till", on_error = |error| Err(format!("{error}, sold {}", self.sold)))]
    async fn sell(&mut self) -> Result<(), String> {
        self.sold += 1;
        Ok(())
    }
}

fn main() {}
