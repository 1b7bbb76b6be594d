//! Arguments of every shape.
#![allow(clippy::redundant_pattern, reason = "odd forms are the point")]

use std::{cell::Cell, fmt, rc::Rc};

use distlock::distributed_lock;

use crate::{AppError, AppResult, with_fresh_manager};

struct Path<T>(T);

struct Json<T> {
    value: T,
}

#[distributed_lock(key = "{id}:{value}", guard = lock)]
async fn handler(
    Path(id): Path<u64>,
    Json { mut value }: Json<String>,
    _audit: &'static str,
) -> AppResult<String> {
    value.push('!');
    Ok(format!("{value} {}", lock.key()))
}

#[distributed_lock(key = "sum")]
async fn patterns(
    (a, mut b): (u8, u8),
    [c, ..]: [u8; 2],
    &d: &u8,
    e @ _: u8,
    _: u8,
    mut f: u8,
) -> AppResult<u8> {
    b += 1;
    f += 1;
    Ok(a + b + c + d + e + f)
}

#[distributed_lock(key = "raw:{type}")]
async fn raw(r#type: u8) -> AppResult<u8> {
    Ok(r#type)
}

#[distributed_lock(key = "g:{item}")]
async fn generic<'a, T, const N: usize>(
    item: &'a T,
    many: [u8; N],
    into: impl Into<String>,
) -> AppResult<(&'a T, usize, String)>
where
    T: fmt::Display + ?Sized,
{
    Ok((item, many.len(), into.into()))
}

#[distributed_lock(key = "local")]
async fn not_send(cell: Rc<Cell<u8>>) -> AppResult<u8> {
    cell.set(cell.get() + 1);
    tokio::task::yield_now().await;
    Ok(cell.get())
}

#[distributed_lock(key = "{depth}", on_busy = |_| Ok(0))]
async fn recursive(depth: u8) -> AppResult<u8> {
    if depth == 0 {
        return Ok(0);
    }
    Ok(1 + Box::pin(recursive(depth - 1)).await?)
}

#[distributed_lock(key = "flow")]
async fn control_flow(n: u8) -> AppResult<u8> {
    #![allow(clippy::never_loop)]
    const LIMIT: u8 = 10;
    fn twice(n: u8) -> u8 {
        n * 2
    }
    let checked = |n: u8| if n > LIMIT { Err(AppError::App("too much")) } else { Ok(n) };
    let n = checked(n)?;
    'outer: loop {
        loop {
            break 'outer;
        }
    }
    if n == 1 {
        return Ok(twice(n));
    }
    Ok(n)
}

#[distributed_lock(key = "conditional")]
async fn conditional(
    #[cfg(test)] mut present: u8,
    #[cfg(not(test))] absent: u8,
    #[cfg(test)] either: u8,
    #[cfg(not(test))] either: &str,
) -> AppResult<u8> {
    #[cfg(test)]
    {
        present += either;
    }
    #[cfg(not(test))]
    let present = absent + either.len();
    Ok(present)
}

#[tokio::test]
async fn arguments_may_depend_on_conditions() {
    with_fresh_manager(|_| async {
        assert_eq!(conditional(1, 2).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn arguments_may_be_any_pattern() {
    with_fresh_manager(|_| async {
        assert_eq!(handler(Path(7), Json { value: "v".into() }, "x").await.unwrap(), "v! 7:v");
        assert_eq!(patterns((1, 1), [2, 0], &3, 4, 9, 0).await.unwrap(), 1 + 2 + 2 + 3 + 4 + 1);
        assert_eq!(raw(5).await.unwrap(), 5);
    })
    .await;
}

#[tokio::test]
async fn functions_may_be_generic() {
    with_fresh_manager(|_| async {
        assert_eq!(generic("s", [0; 4], "t").await.unwrap(), ("s", 4, "t".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn bodies_may_be_not_send_or_recursive() {
    with_fresh_manager(|_| async {
        assert_eq!(not_send(Rc::new(Cell::new(1))).await.unwrap(), 2);
        assert_eq!(recursive(3).await.unwrap(), 3);
    })
    .await;
}

#[tokio::test]
async fn return_and_question_mark_leave_the_body_only() {
    with_fresh_manager(|_| async {
        assert_eq!(control_flow(1).await.unwrap(), 2);
        assert_eq!(control_flow(11).await, Err(AppError::App("too much")));
    })
    .await;
}
