use distlock::distributed_lock;

struct Order;

#[distributed_lock(key = "k")]
impl Order {}

fn main() {}
