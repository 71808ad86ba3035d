//! probe
mod support;
use futures::AsyncWriteExt;
use support::node::Node;
use support::{pipe, quiet, run};
#[test]
fn fire_and_forget() {
    run(async {
        let (near, far) = pipe(64 * 1024);
        let a = Node::client(near, quiet().build().expect("valid"));
        let b = Node::server(far, quiet().build().expect("valid"));
        for i in 0..50_000u32 {
            let mut stream = match a.open().await { Ok(s) => s, Err(e) => panic!("{i} {e:?}") };
            stream.write_all(b"x").await.expect("credit");
            drop(stream);
        }
        a.num_streams().await;
        let _ = b;
    });
}
