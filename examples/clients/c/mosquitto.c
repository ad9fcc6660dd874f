/* Numbered messages with libmosquitto, over MQTT 5:
 *
 *     mosquitto publish|receive HOST PORT TOPIC QOS COUNT
 */
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *topic;
static int publishing, qos, count;

/* The numbers of messages by Packet Identifier, and how many were acknowledged or received. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int numbers[65536], acknowledged[65536], done;
static char *received;

static void acknowledge(int mid)
{
	if (numbers[mid] != 0 && acknowledged[mid]) {
		printf("acknowledged %d\n", numbers[mid]);
		numbers[mid] = acknowledged[mid] = 0;
		done++;
	}
}

static void on_connect(struct mosquitto *m, void *obj, int reason, int flags, const mosquitto_property *props)
{
	(void)obj, (void)props;
	if (reason != 0)
		printf("refused: %s\n", mosquitto_reason_string(reason));
	else if (!publishing && !(flags & 1)) /* Session Present: it still has the subscription */
		mosquitto_subscribe(m, NULL, topic, qos);
}

static void on_subscribe(struct mosquitto *m, void *obj, int mid, int n, const int *granted)
{
	(void)m, (void)obj, (void)mid, (void)n, (void)granted;
	printf("ready\n");
}

/* It may come before mosquitto_publish has returned the identifier. */
static void on_publish(struct mosquitto *m, void *obj, int mid, int reason, const mosquitto_property *props)
{
	(void)m, (void)obj, (void)props;
	pthread_mutex_lock(&lock);
	acknowledged[mid] = reason < 0x80;
	acknowledge(mid);
	pthread_mutex_unlock(&lock);
}

static void on_message(struct mosquitto *m, void *obj, const struct mosquitto_message *message)
{
	(void)m, (void)obj;
	int number = atoi(message->payload);
	printf("received %d\n", number);
	pthread_mutex_lock(&lock);
	if (number > 0 && number <= count && !received[number]) {
		received[number] = 1;
		done++;
	}
	pthread_mutex_unlock(&lock);
}

static int finished(void)
{
	pthread_mutex_lock(&lock);
	int is = done == count;
	pthread_mutex_unlock(&lock);
	return is;
}

static void publish_all(struct mosquitto *m)
{
	for (int n = 1; n <= count; n++) {
		char text[16];
		int mid;
		snprintf(text, sizeof text, "%d", n);
		/* MOSQ_ERR_NO_CONN: the message waits for the next connection all the same. */
		int rc = mosquitto_publish(m, &mid, topic, strlen(text), text, qos, false);
		if (rc != MOSQ_ERR_SUCCESS && rc != MOSQ_ERR_NO_CONN)
			printf("not sent %d: %s\n", n, mosquitto_strerror(rc));
		printf("sent %d\n", n);
		pthread_mutex_lock(&lock);
		numbers[mid] = n;
		acknowledge(mid);
		pthread_mutex_unlock(&lock);
		usleep(1000);
	}
}

int main(int argc, char **argv)
{
	if (argc != 7) {
		fprintf(stderr, "mosquitto publish|receive HOST PORT TOPIC QOS COUNT\n");
		return 2;
	}
	char id[128];
	publishing = strcmp(argv[1], "publish") == 0;
	topic = argv[4], qos = atoi(argv[5]), count = atoi(argv[6]);
	received = calloc(count + 1, 1);
	snprintf(id, sizeof id, "%s-%s", topic, argv[1]);
	setvbuf(stdout, NULL, _IOLBF, 0);

	mosquitto_lib_init();
	struct mosquitto *m = mosquitto_new(id, false, NULL); /* false: no Clean Start */
	mosquitto_int_option(m, MOSQ_OPT_PROTOCOL_VERSION, MQTT_PROTOCOL_V5); /* 3.1.1 by default */
	mosquitto_reconnect_delay_set(m, 1, 5, false);
	mosquitto_connect_v5_callback_set(m, on_connect);
	mosquitto_subscribe_callback_set(m, on_subscribe);
	mosquitto_publish_v5_callback_set(m, on_publish);
	mosquitto_message_callback_set(m, on_message);

	/* Without it a session of MQTT 5 ends with its connection. */
	mosquitto_property *props = NULL;
	mosquitto_property_add_int32(&props, MQTT_PROP_SESSION_EXPIRY_INTERVAL, 3600);
	int rc = mosquitto_connect_bind_v5(m, argv[2], atoi(argv[3]), 30, NULL, props);
	if (rc == MOSQ_ERR_SUCCESS)
		rc = mosquitto_loop_start(m); /* a thread, which connects again too */
	if (rc != MOSQ_ERR_SUCCESS) {
		fprintf(stderr, "%s\n", mosquitto_strerror(rc));
		return 1;
	}
	if (publishing)
		publish_all(m);
	while (!finished())
		usleep(50000);
	printf("done\n");
	mosquitto_disconnect(m);
	mosquitto_loop_stop(m, false);
	return 0;
}
