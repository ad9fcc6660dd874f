package conformance

var sharedTests = []test{}
