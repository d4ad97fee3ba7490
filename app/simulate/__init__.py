"""A make-believe province: people, their days, their scans, and the truth about who met whom.

One seed gives one world, to the byte. The files tell it in order:

    plan        how many people and days, which seed, until when
    geography   the wards and names that premises are given
    premises    places and the devices at their doors
    people      households, roles, habits
    movements   where everybody really was
    attendance  what was scanned of it: exits are forgotten, codes scanned twice
    delivery    how the scans travel: in time, late, twice, out of order
    world       all of these at once
    wallet      the codes that people show and walls carry
    wire        a scan as its device sends it
    enrol       the registry learns of places, devices and keys
    post, edge  signed batches go through the public HTTP edge, every receipt is checked
    perform     from a plan to the last receipt, with progress
    truth       the trace that must come out, computed apart from `tracing`
    presence    how far even the right answer is from where people were
    verdict     an answer of the service held against the truth
    memory      what a later demonstration on the same data needs to know
    show        the demonstration's tables

Nothing here is anybody: citizen numbers claim births in the 24th century, company names are trees and rivers.
"""
