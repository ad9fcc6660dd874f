package broker

import "time"

// A moment is a time of the clock in 8 bytes, where a time.Time has 24; 0: none.
type moment int64

func momentOf(t time.Time) moment { return moment(t.UnixNano()) }

func (m moment) time() time.Time { return time.Unix(0, int64(m)) }
