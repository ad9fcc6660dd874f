import com.hivemq.client.mqtt.MqttGlobalPublishFilter;
import com.hivemq.client.mqtt.datatypes.MqttQos;
import com.hivemq.client.mqtt.mqtt5.Mqtt5AsyncClient;
import com.hivemq.client.mqtt.mqtt5.Mqtt5Client;
import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Numbered messages with the HiveMQ client, over MQTT 5: HiveMq publish|receive HOST PORT TOPIC QOS COUNT. */
public final class HiveMq {
    public static void main(String[] args) throws Exception {
        String role = args[0];
        String topic = args[3];
        MqttQos qos = MqttQos.fromCode(Integer.parseInt(args[4]));
        int count = Integer.parseInt(args[5]);
        Mqtt5AsyncClient client = Mqtt5Client.builder()
                .identifier(topic + "-" + role)
                .serverHost(args[1])
                .serverPort(Integer.parseInt(args[2]))
                // Off by default. It tries after a second, then twice as long, up to 5 s; up to 2 min by default.
                .automaticReconnect().initialDelay(1, TimeUnit.SECONDS).maxDelay(5, TimeUnit.SECONDS).applyAutomaticReconnect()
                .buildAsync();
        CountDownLatch left = new CountDownLatch(count);
        Set<String> received = ConcurrentHashMap.newKeySet();
        if (role.equals("receive")) {
            // Before the connection is there: a session that is resumed has messages at once.
            client.publishes(MqttGlobalPublishFilter.ALL, message -> {
                String number = new String(message.getPayloadAsBytes(), StandardCharsets.UTF_8);
                System.out.println("received " + number);
                if (received.add(number)) {
                    left.countDown();
                }
            });
        }
        // Clean Start is set by default, and a session ends with its connection. The client sets both so at each reconnect too.
        client.connectWith().cleanStart(false).sessionExpiryInterval(3600).send().get();
        if (role.equals("receive")) {
            client.subscribeWith().topicFilter(topic).qos(qos).send().get();
            System.out.println("ready");
        } else {
            publish(client, topic, qos, count, left);
        }
        left.await();
        System.out.println("done");
        client.disconnect().get();
        System.exit(0);
    }

    /** The futures stay good while there is no connection. */
    private static void publish(Mqtt5AsyncClient client, String topic, MqttQos qos, int count, CountDownLatch left) throws InterruptedException {
        for (int n = 1; n <= count; n++) {
            int number = n;
            System.out.println("sent " + number);
            client.publishWith().topic(topic).qos(qos).payload(Integer.toString(number).getBytes(StandardCharsets.UTF_8)).send()
                    .whenComplete((result, error) -> {
                        if (error != null || result.getError().isPresent()) {
                            System.out.println("not acknowledged " + number + ": " + error);
                            return;
                        }
                        System.out.println("acknowledged " + number);
                        left.countDown();
                    });
            Thread.sleep(1);
        }
    }
}
