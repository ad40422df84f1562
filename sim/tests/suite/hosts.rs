//! Hosts with TCP/IP stacks and asynchronous programs.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use mvpnet_sim::{FailureKind, LinkModel, PingError, Sim};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const SECOND: Duration = Duration::from_secs(1);

/// A server that sends back what it gets.
fn echo(sim: &mut Sim, rank: u32) {
    sim.host(rank, async |host| {
        let mut listener = host.listen(7)?;
        loop {
            let stream = listener.accept().await?;
            host.spawn(async move {
                let (mut reader, mut writer) = tokio::io::split(stream);
                let _ = tokio::io::copy(&mut reader, &mut writer).await;
                writer.shutdown().await?;
                Ok(())
            });
        }
    });
}

#[test]
fn hosts_get_their_address_and_ping_over_ipv4_and_ipv6() {
    let latency = Duration::from_millis(3);
    let mut sim = Sim::new(1, 3).links(LinkModel::IDEAL.latency(latency));
    for rank in 0..3 {
        sim.client(rank, async move |host| {
            let to = (rank + 1) % 3;
            assert_eq!(host.ping(host.address_of(to), SECOND).await?, 2 * latency);
            assert_eq!(host.ping(host.ipv6_of(to).into(), SECOND).await?, 2 * latency);
            Ok(())
        });
    }
    sim.run().unwrap();
}

#[test]
fn a_ping_of_nobody_is_not_answered() {
    let mut sim = Sim::new(1, 2);
    sim.client(0, async |host| {
        let to = host.address_of(1);
        assert_eq!(host.ping(to, SECOND).await, Err(PingError::NoAnswer { to, limit: SECOND }));
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn tcp_carries_a_megabyte_there_and_back_over_a_bad_link() {
    let mut sim =
        Sim::new(3, 2).links("lossy-wan loss=2% reorder=1% duplicate=1% rate=1Gbit/s".parse().unwrap());
    echo(&mut sim, 0);
    sim.client(1, async |host| {
        let data: Vec<u8> = (0..1_000_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        let mut stream = host.connect(0, 7).await?;
        let (mut reader, mut writer) = tokio::io::split(&mut stream);
        let sent = data.clone();
        let send = async {
            writer.write_all(&sent).await?;
            writer.shutdown().await
        };
        let mut received = Vec::new();
        let (sent, _) = tokio::join!(send, reader.read_to_end(&mut received));
        sent?;
        assert!(received == data, "{} of {} bytes", received.len(), data.len());
        Ok(())
    });
    sim.run().unwrap();
    assert!(sim.traffic().duplicated > 0);
}

#[test]
fn a_connection_to_a_port_without_a_listener_is_refused() {
    let mut sim = Sim::new(1, 2);
    sim.host(0, async |_| Ok(()));
    sim.client(1, async |host| {
        let error = host.connect(0, 9).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        Ok(())
    });
    sim.run().unwrap();
    assert!(sim.now() < mvpnet_switch::Instant::ZERO + SECOND);
}

#[test]
fn datagrams_keep_their_bounds() {
    let mut sim = Sim::new(1, 2).links(LinkModel::CAMPUS);
    sim.host(0, async |host| {
        let socket = host.bind_udp(5000)?;
        let mut buffer = [0; 1500];
        loop {
            let (len, peer) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..len], peer).await?;
        }
    });
    sim.client(1, async |host| {
        let socket = host.bind_udp(0)?;
        for len in [1, 1000, 10] {
            socket.send_to(&vec![7; len], host.socket_address_of(0, 5000)).await?;
        }
        let mut buffer = [0; 1500];
        for len in [1, 1000, 10] {
            assert_eq!(socket.recv_from(&mut buffer).await?.0, len);
        }
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_crashed_host_starts_anew_and_its_connections_break() {
    let mut sim = Sim::new(1, 2).links(LinkModel::CLUSTER_10G);
    let lives = Rc::new(RefCell::new(0));
    let counted = lives.clone();
    sim.host(0, async move |_| {
        *counted.borrow_mut() += 1;
        Ok(())
    });
    echo(&mut sim, 0);
    sim.client(1, async |host| {
        let mut stream = host.connect(0, 7).await?;
        host.sleep(2 * SECOND).await;
        // The new life does not know the connection.
        stream.write_all(b"are you there?").await?;
        let error = stream.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let mut stream = host.connect(0, 7).await?;
        stream.write_all(b"!").await?;
        assert_eq!(stream.read_u8().await?, b'!');
        Ok(())
    });
    sim.at(SECOND).crash(0);
    sim.at(SECOND * 3 / 2).restart(0);
    sim.run().unwrap();
    assert_eq!(*lives.borrow(), 2);
}

#[test]
fn a_program_that_fails_ends_the_simulation_with_its_seed() {
    let mut sim = Sim::new(77, 1);
    sim.client(0, async |host| {
        host.sleep(SECOND).await;
        Err("no more milk".into())
    });
    let failure = sim.run().unwrap_err();
    let text = failure.to_string();
    assert!(text.contains("rank 0: no more milk"), "{text}");
    assert!(text.contains("at 1.000000000s of simulated time, seed 77"), "{text}");
    assert!(text.contains("cargo test hosts::a_program_that_fails"), "{text}");
}

#[test]
fn a_client_that_waits_forever_is_named() {
    let mut sim = Sim::new(1, 2);
    sim.client(1, async |_| std::future::pending().await);
    let failure = sim.run().unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Timeout { ref ranks, .. } if ranks == &[1]), "{failure}");
    let mut sim = Sim::new(1, 1).time_limit(SECOND);
    sim.client(0, async |host| {
        host.sleep(2 * SECOND).await;
        Ok(())
    });
    let failure = sim.run().unwrap_err();
    assert!(matches!(failure.kind, FailureKind::Timeout { .. }), "{failure}");
}

#[test]
fn programs_of_different_hosts_may_wake_each_other() {
    let mut sim = Sim::new(1, 2);
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let (sender, receiver) = (Rc::new(RefCell::new(Some(sender))), Rc::new(RefCell::new(Some(receiver))));
    sim.client(0, async move |host| {
        let receiver = receiver.take().unwrap();
        assert_eq!(receiver.await?, 5);
        assert_eq!(host.now(), mvpnet_switch::Instant::ZERO + SECOND);
        Ok(())
    });
    sim.client(1, async move |host| {
        host.sleep(SECOND).await;
        sender.take().unwrap().send(5).map_err(|_| "gone")?;
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn programs_that_never_let_time_pass_are_stopped() {
    let mut sim = Sim::new(1, 1);
    sim.client(0, async |_| {
        std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            std::task::Poll::<()>::Pending
        })
        .await;
        Ok(())
    });
    let failure = sim.run().unwrap_err();
    assert!(failure.to_string().contains("rank 0: its programs wake each other forever"), "{failure}");
}
