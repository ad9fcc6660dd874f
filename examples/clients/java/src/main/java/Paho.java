import java.nio.charset.StandardCharsets;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import org.eclipse.paho.client.mqttv3.DisconnectedBufferOptions;
import org.eclipse.paho.client.mqttv3.IMqttActionListener;
import org.eclipse.paho.client.mqttv3.IMqttDeliveryToken;
import org.eclipse.paho.client.mqttv3.IMqttToken;
import org.eclipse.paho.client.mqttv3.MqttAsyncClient;
import org.eclipse.paho.client.mqttv3.MqttCallbackExtended;
import org.eclipse.paho.client.mqttv3.MqttConnectOptions;
import org.eclipse.paho.client.mqttv3.MqttException;
import org.eclipse.paho.client.mqttv3.MqttMessage;
import org.eclipse.paho.client.mqttv3.persist.MemoryPersistence;

/** Numbered messages with Paho's client for MQTT 3.1.1: Paho publish|receive HOST PORT TOPIC QOS COUNT. */
public final class Paho {
    public static void main(String[] args) throws Exception {
        String role = args[0];
        String topic = args[3];
        int qos = Integer.parseInt(args[4]);
        int count = Integer.parseInt(args[5]);
        CountDownLatch left = new CountDownLatch(count);
        // MqttDefaultFilePersistence keeps what is in flight over a restart of this program.
        MqttAsyncClient client = new MqttAsyncClient("tcp://" + args[1] + ":" + args[2], topic + "-" + role, new MemoryPersistence());
        client.setCallback(new Receiver(left));
        MqttConnectOptions options = new MqttConnectOptions();
        options.setCleanSession(false); // true by default
        options.setAutomaticReconnect(true); // false by default
        options.setMaxReconnectDelay(5000); // by default it doubles up to 128 s
        options.setMaxInflight(100); // 10 by default; one more and publish throws
        // Without a buffer publish throws while there is no connection.
        DisconnectedBufferOptions buffer = new DisconnectedBufferOptions();
        buffer.setBufferEnabled(true);
        buffer.setBufferSize(10000);
        client.setBufferOpts(buffer);
        client.connect(options).waitForCompletion();
        if (role.equals("receive")) {
            client.subscribe(topic, qos).waitForCompletion();
            System.out.println("ready");
        } else {
            for (int n = 1; n <= count; n++) {
                publish(client, topic, qos, n, left);
            }
        }
        left.await();
        System.out.println("done");
        client.disconnect().waitForCompletion(2000);
        System.exit(0);
    }

    private static void publish(MqttAsyncClient client, String topic, int qos, int number, CountDownLatch left) throws InterruptedException {
        System.out.println("sent " + number);
        while (true) {
            try {
                client.publish(topic, Integer.toString(number).getBytes(StandardCharsets.UTF_8), qos, false, null, new IMqttActionListener() {
                    @Override
                    public void onSuccess(IMqttToken token) {
                        System.out.println("acknowledged " + number);
                        left.countDown();
                    }

                    @Override
                    public void onFailure(IMqttToken token, Throwable error) {
                        System.out.println("not acknowledged " + number + ": " + error);
                    }
                });
                Thread.sleep(1);
                return;
            } catch (MqttException error) {
                Thread.sleep(10); // too much in flight, or it is about to connect: not sent
            }
        }
    }

    private static final class Receiver implements MqttCallbackExtended {
        private final CountDownLatch left;
        private final Set<String> received = ConcurrentHashMap.newKeySet();

        Receiver(CountDownLatch left) {
            this.left = left;
        }

        @Override
        public void messageArrived(String topic, MqttMessage message) {
            String number = new String(message.getPayload(), StandardCharsets.UTF_8);
            System.out.println("received " + number);
            if (received.add(number)) {
                left.countDown();
            }
        }

        @Override
        public void connectComplete(boolean again, String broker) {}

        @Override
        public void connectionLost(Throwable cause) {
            System.out.println("lost: " + cause);
        }

        @Override
        public void deliveryComplete(IMqttDeliveryToken token) {}
    }
}
