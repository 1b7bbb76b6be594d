use distlock::distributed_lock;

#[distributed_lock(key = "k")]
trait Service {}

fn main() {}
