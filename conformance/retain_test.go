package conformance

var retainTests = []test{}
