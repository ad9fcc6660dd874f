package main

// operateCommands are those that see a running broker, and change it.
type operateCommands struct {
	Clients       clientsCommand          `cmd:"" help:"See the clients, and end their connections."`
	Sessions      sessionsCommand         `cmd:"" help:"See the sessions, and end them."`
	Subscriptions subscriptionsCommand    `cmd:"" help:"See the subscriptions, add and remove them."`
	Retained      retainedMessagesCommand `cmd:"" help:"See, delete and export the retained messages."`
	Log           logCommand              `cmd:"" help:"See and set the level of the log."`
}
