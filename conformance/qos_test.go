package conformance

var qosTests = []test{}
