package conformance

var publishTests = []test{}
