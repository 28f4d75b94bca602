"""Data sets that come with fedchain, one partition a site, each under the policy that its owner declares."""
