//! Numbered messages with rumqttc, over MQTT 5:
//!
//!     numbers publish|receive HOST PORT TOPIC QOS COUNT

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{ConnectProperties, Packet};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use rumqttc::Outgoing;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, role, host, port, topic, qos, count] = &args[..] else {
        eprintln!("numbers publish|receive HOST PORT TOPIC QOS COUNT");
        std::process::exit(2);
    };
    let qos = match qos.as_str() {
        "0" => QoS::AtMostOnce,
        "1" => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    let count: usize = count.parse().expect("COUNT is a number");

    let mut options = MqttOptions::new(format!("{topic}-{role}"), host, port.parse().expect("PORT is a number"));
    options.set_keep_alive(Duration::from_secs(30));
    options.set_clean_start(false); // true by default
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval = Some(3600); // without it a session ends with its connection
    options.set_connect_properties(properties);
    let (client, events) = AsyncClient::new(options, 100);

    if role == "publish" {
        let topic = topic.clone();
        let publisher = client.clone();
        tokio::spawn(async move {
            for n in 1..=count {
                // It waits here while too much is in flight, or there is no connection.
                publisher.publish(&topic, qos, false, n.to_string()).await.expect("the event loop is there");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        publish(events, count).await;
    } else {
        receive(&client, events, topic, qos, count).await;
    }
    println!("done");
}

/// Follows what is sent: the event loop takes publications in order and gives each a Packet Identifier.
async fn publish(mut events: EventLoop, count: usize) {
    let mut next = 0;
    let mut numbers: HashMap<u16, VecDeque<usize>> = HashMap::new();
    let mut acknowledged = 0;
    while acknowledged < count {
        match events.poll().await {
            Ok(Event::Outgoing(Outgoing::Publish(id))) => {
                // After a new connection those in flight are sent again, with the identifier that they had.
                if numbers.get(&id).is_none_or(|waiting| waiting.is_empty()) {
                    next += 1;
                    println!("sent {next}");
                    numbers.entry(id).or_default().push_back(next);
                }
            }
            Ok(Event::Incoming(packet)) => {
                let id = match packet {
                    Packet::PubAck(ack) => ack.pkid,
                    Packet::PubComp(ack) => ack.pkid,
                    _ => continue,
                };
                if let Some(number) = numbers.get_mut(&id).and_then(|waiting| waiting.pop_front()) {
                    println!("acknowledged {number}");
                    acknowledged += 1;
                }
            }
            Ok(_) => {}
            Err(error) => again(error).await,
        }
    }
}

async fn receive(client: &AsyncClient, mut events: EventLoop, topic: &str, qos: QoS, count: usize) {
    let mut received = HashSet::new();
    while received.len() < count {
        match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) if !ack.session_present => {
                client.subscribe(topic, qos).await.expect("the event loop is there");
            }
            Ok(Event::Incoming(Packet::SubAck(_))) => println!("ready"),
            Ok(Event::Incoming(Packet::Publish(message))) => {
                let number = String::from_utf8_lossy(&message.payload).to_string();
                println!("received {number}");
                received.insert(number);
            }
            Ok(_) => {}
            Err(error) => again(error).await,
        }
    }
    // What was received last is acknowledged when the loop goes on.
    let _ = tokio::time::timeout(Duration::from_millis(200), async { while events.poll().await.is_ok() {} }).await;
}

/// The event loop connects again when it is asked again, without a pause of its own.
async fn again(error: rumqttc::v5::ConnectionError) {
    println!("lost: {error}");
    tokio::time::sleep(Duration::from_secs(1)).await;
}
