// Package store keeps Sessions, their queues and the retained messages in one
// SQLite file.
package store
