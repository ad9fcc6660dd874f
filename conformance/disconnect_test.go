package conformance

var disconnectTests = []test{}
