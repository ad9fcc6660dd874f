package inspect

// A LogLine is a line of the log, as it was written.
type LogLine struct {
	// Seq counts the lines since the start of the process, from 1.
	Seq  uint64 `json:"seq" doc:"Number of the line since the start; from 1, without gaps."`
	Text string `json:"text" doc:"As it was written to standard error, without its line end: a JSON object if log.format is json."`
	Cut  bool   `json:"cut,omitempty" doc:"It was longer than what is kept of one line."`
}

// A LogLevel is what the log has, and why.
type LogLevel struct {
	Level string `json:"level" enum:"trace,debug,info,warn,error,fatal,panic" doc:"Least severe lines that are logged."`
	// Configured is what log.level says.
	Configured string `json:"configured" doc:"What log.level says."`
	// SetAtRunTime: Level is not from the configuration, and holds until log.level is changed and
	// reloaded, or the broker is restarted.
	SetAtRunTime bool `json:"set_at_run_time" doc:"The level is not that of the configuration; it holds until that changes log.level, or the broker ends."`
}

// LogLines are some of the last lines of the log.
type LogLines struct {
	Items  []LogLine `json:"items"`
	Missed uint64    `json:"missed,omitempty" doc:"Lines behind the one that is known already that are no longer kept."`
}
