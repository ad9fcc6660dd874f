package main

// operateCommands are those that see a running broker, and change it.
type operateCommands struct {
	Clients       clientsCommand          `cmd:"" aliases:"client" help:"See the clients, and end their connections."`
	Sessions      sessionsCommand         `cmd:"" aliases:"session" help:"See the sessions, and end them."`
	Subscriptions subscriptionsCommand    `cmd:"" aliases:"subscription" help:"See the subscriptions, add and remove them."`
	Retained      retainedMessagesCommand `cmd:"" help:"See, delete and export the retained messages."`
	Status        statusCommand           `cmd:"" help:"Say on one screen whether the broker is well, and what needs attention; exit with 3 if something does."`
	Top           topCommand              `cmd:"" help:"Show the busiest clients, again and again."`
	Trace         traceCommand            `cmd:"" help:"Print what a client does, or what happens on a topic, as it happens."`
	Log           logCommand              `cmd:"" help:"See and set the level of the log."`
}
