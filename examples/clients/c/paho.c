/* Numbered messages with Paho C (MQTTAsync), over MQTT 3.1.1:
 *
 *     paho publish|receive HOST PORT TOPIC QOS COUNT
 */
#include <MQTTAsync.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *topic;
static int publishing, qos, count;
static char *received;
static atomic_int done;
static MQTTAsync client;

static void subscribed(void *context, MQTTAsync_successData *data)
{
	(void)context, (void)data;
	printf("ready\n");
}

/* Called at each connection, those that are made again too. */
static void connected(void *context, char *cause)
{
	(void)context, (void)cause;
	if (publishing)
		return;
	MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
	options.onSuccess = subscribed;
	MQTTAsync_subscribe(client, topic, qos, &options);
}

static int arrived(void *context, char *name, int length, MQTTAsync_message *message)
{
	(void)context, (void)length;
	char text[16] = {0};
	memcpy(text, message->payload, message->payloadlen < 15 ? message->payloadlen : 15);
	int number = atoi(text);
	printf("received %d\n", number);
	if (number > 0 && number <= count && !received[number]) {
		received[number] = 1;
		done++;
	}
	MQTTAsync_freeMessage(&message);
	MQTTAsync_free(name);
	return 1; /* 0 would have it come again */
}

/* The number is the context: it is good for a message that was sent again, too. */
static void acknowledged(void *context, MQTTAsync_successData *data)
{
	(void)data;
	printf("acknowledged %d\n", (int)(intptr_t)context);
	done++;
}

static void failed(void *context, MQTTAsync_failureData *data)
{
	printf("not acknowledged %d: %d\n", (int)(intptr_t)context, data ? data->code : 0);
}

static void publish_all(void)
{
	for (int n = 1; n <= count; n++) {
		char text[16];
		snprintf(text, sizeof text, "%d", n);
		MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
		options.onSuccess = acknowledged;
		options.onFailure = failed;
		options.context = (void *)(intptr_t)n;
		int rc;
		while ((rc = MQTTAsync_send(client, topic, strlen(text), text, qos, 0, &options)) != MQTTASYNC_SUCCESS)
			usleep(10000); /* MQTTASYNC_MAX_BUFFERED_MESSAGES: it waits for room */
		printf("sent %d\n", n);
		usleep(1000);
	}
}

int main(int argc, char **argv)
{
	if (argc != 7) {
		fprintf(stderr, "paho publish|receive HOST PORT TOPIC QOS COUNT\n");
		return 2;
	}
	char id[128], address[256];
	publishing = strcmp(argv[1], "publish") == 0;
	topic = argv[4], qos = atoi(argv[5]), count = atoi(argv[6]);
	received = calloc(count + 1, 1);
	snprintf(id, sizeof id, "%s-%s", topic, argv[1]);
	snprintf(address, sizeof address, "tcp://%s:%s", argv[2], argv[3]);
	setvbuf(stdout, NULL, _IOLBF, 0);

	/* Without sendWhileDisconnected MQTTAsync_send fails while there is no connection. MQTTCLIENT_PERSISTENCE_DEFAULT
	 * in place of NONE keeps what is in flight in files, over a restart of this program. */
	MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer;
	create.sendWhileDisconnected = 1;
	create.maxBufferedMessages = 10000; /* 100 by default */
	MQTTAsync_createWithOptions(&client, address, id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &create);
	MQTTAsync_setCallbacks(client, NULL, NULL, arrived, NULL);
	MQTTAsync_setConnected(client, NULL, connected);

	MQTTAsync_connectOptions options = MQTTAsync_connectOptions_initializer;
	options.cleansession = 0;       /* 1 by default */
	options.automaticReconnect = 1; /* 0 by default */
	options.minRetryInterval = 1;
	options.maxRetryInterval = 5;   /* 60 s by default */
	options.maxInflight = 100;      /* 65535 by default */
	options.onFailure = failed;
	int rc = MQTTAsync_connect(client, &options);
	if (rc != MQTTASYNC_SUCCESS) {
		fprintf(stderr, "%s\n", MQTTAsync_strerror(rc));
		return 1;
	}
	if (publishing)
		publish_all();
	while (done < count)
		usleep(50000);
	printf("done\n");
	MQTTAsync_disconnectOptions end = MQTTAsync_disconnectOptions_initializer;
	MQTTAsync_disconnect(client, &end);
	usleep(200000);
	return 0;
}
