#!/bin/sh
# Debian: apt-get install gcc libmosquitto-dev libpaho-mqtt-dev
set -e
mkdir -p bin
cc -O2 -Wall -Wextra -o bin/mosquitto mosquitto.c -lmosquitto -lpthread
cc -O2 -Wall -Wextra -o bin/paho paho.c -lpaho-mqtt3a
