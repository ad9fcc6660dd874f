package metrics

// A Pause is why a publisher is not read for a while.
type Pause uint8

// The causes.
const (
	PauseMemory Pause = iota
	PauseMessageRate
	PauseByteRate

	NumPauses // how many there are
)

var pauseNames = [NumPauses]string{"memory", "message_rate", "byte_rate"}

func (p Pause) String() string { return pauseNames[p] }
